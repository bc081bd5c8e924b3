"""Whether the numbers can be believed: the audits that runs kept of themselves."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from holdfast.report.classifier import Classifier
from holdfast.report.folders import RunFolder

#: From best to worst; a run without an audit says less than one that is believable.
VERDICTS = ("believable", "not audited", "doubtful", "not believable")

#: How far the checks of an audit are from what they should be.
_ORDER = ("fail", "warn", "not run", "pass")


#: What a run of each kind is about, and what nobody knows of one without an audit.
_ABOUT = {"evaluate": "robust accuracy", "certify": "certified accuracy"}
_UNKNOWN = {
    "evaluate": "Nobody checked whether the attacks could see: robust accuracy is a ceiling, and "
    "may be far above what a better attack leaves.",
    "certify": "Nobody checked the certificates: certified accuracy is a floor only where votes, "
    "limits and radii are what they are said to be.",
}


class Check(NamedTuple):
    """One check of an audit.

    Attributes:
        id: as it is cited.
        title: what holds where it passes.
        value: what was measured.
        threshold: the largest value that passes.
        verdict: pass, warn, fail or not run.
        said: what was found, in a sentence.
        why: it matters.
        then: what to do about it.
    """

    id: str
    title: str
    value: str
    threshold: str
    verdict: str
    said: str
    why: str
    then: str


class Audit(NamedTuple):
    """What a run found out about itself.

    Attributes:
        classifier: that it is about.
        about: the number that it is of.
        path: of the run.
        verdict: in a word.
        sentence: what that rests on.
        checks: the worst first.
    """

    classifier: str
    about: str
    path: str
    verdict: str
    sentence: str
    checks: list[Check]


class Belief(NamedTuple):
    """Whether a number can be believed: in one word, and one sentence."""

    verdict: str
    sentence: str


def audit_of(classifier: Classifier, run: RunFolder) -> Audit | None:
    """The audit in a run.json; None if there is none."""
    found = run.about.get("audit")
    if found is None:
        return None
    checks = sorted(map(_check, found["checks"]), key=lambda check: _ORDER.index(check.verdict))
    verdict = found["verdict"]
    sentence = found["sentence"].removeprefix(f"{verdict}: ")
    return Audit(
        classifier.label,
        _ABOUT[run.about["kind"]],
        str(run.path),
        verdict,
        sentence[:1].upper() + sentence[1:],
        checks,
    )


def belief(classifiers: Sequence[Classifier]) -> Belief:
    """The least that the numbers of some classifiers can be believed, and why."""
    found: list[Belief] = []
    several = sum(len(classifier.runs) for classifier in classifiers) > 1
    for classifier in classifiers:
        for run in classifier.runs:
            audit = audit_of(classifier, run)
            if audit is not None:
                about = audit.about[:1].upper() + audit.about[1:]
                where = f"{about} of {audit.classifier} ({audit.path}): " if several else ""
                found.append(Belief(audit.verdict, where + audit.sentence))
            else:
                found.append(Belief("not audited", _UNKNOWN[run.about["kind"]]))
    worst = max(found, key=lambda each: VERDICTS.index(each.verdict))
    told = len({note for each in classifiers for run in each.runs for note in run.warnings})
    if worst.verdict == "not audited" and told:
        warned = "a warning, which is" if told == 1 else f"{told} warnings, which are"
        return Belief(worst.verdict, f"{worst.sentence} Its runs gave {warned} below.")
    return worst


def _check(found: Mapping[str, Any]) -> Check:
    shown = {"value": _shown(found["value"]), "threshold": _shown(found["threshold"])}
    return Check(**{name: found[name] for name in Check._fields} | shown)


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
