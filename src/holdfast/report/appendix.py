"""What a reader needs to repeat it and to cite it: images, commands, settings, costs, papers."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from holdfast import metrics
from holdfast.report import tables
from holdfast.report.folders import CertifiedRun, RunFolder
from holdfast.report.references import REFERENCES
from holdfast.report.subjects import Subject
from holdfast.report.words import NORMS, size

_THREAT = re.compile(r"threat=\w+\(eps=[^()]*\)(, )?")
_NAME = re.compile(r"\b[A-Z][A-Za-z0-9]+(?=\()")


#: What the passes were taken for that no attack took, by their names in run.json.
_BESIDE = {"search": "search for what the model hides"}


class Setting(NamedTuple):
    """An attack or a certificate as it was run, in readable form."""

    classifier: str
    name: str
    method: str
    sizes: str
    parameters: list[tuple[str, str]]


class Cost(NamedTuple):
    """What an attack or a certification took."""

    classifier: str
    name: str
    images: int | None
    forwards: int | None
    backwards: int | None
    seconds: float | None


def selection(subjects: Sequence[Subject]) -> list[str]:
    """Which images each network met, in sentences; networks that met the same share one."""
    met: dict[str, list[str]] = {}
    for subject in subjects:
        runs = [run for run in subject.runs if run is not subject.training]
        most = max(runs, key=lambda run: int(run.settings["images"]))
        labels = most.rows.drop_duplicates("index")["label"].value_counts()
        shape = " × ".join(map(str, most.settings["shape"]))
        counts = sorted({int(run.settings["images"]) for run in runs}, reverse=True)
        fewer = f"; some runs met the first {', '.join(map(str, counts[1:]))}" if counts[1:] else ""
        sentence = (
            f"{most.settings['images']:,} images of {most.settings['data']}, {shape}, of "
            f"{len(labels)} classes with {labels.min()} to {labels.max()} images each, "
            f"fingerprint {most.settings['data_fingerprint']}{fewer}."
        )
        met.setdefault(sentence, []).append(subject.name)
    if len(met) == 1:
        return list(met)
    return [f"{', '.join(names)}: {sentence}" for sentence, names in met.items()]


def commands(runs: Sequence[RunFolder]) -> list[tuple[str, str]]:
    """The folder of each run, and the command that made it; "" where it does not say."""
    return [(str(run.path), _command(run)) for run in runs]


def settings(subjects: Sequence[Subject]) -> list[Setting]:
    """Every attack and certificate, its sizes together where nothing else differs."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for classifier in tables.classifiers(subjects):
        for run in classifier.evaluations:
            for cell, about in zip(run.cells, run.settings["attacks"], strict=True):
                whole = _THREAT.sub("", about["attack"], count=1)
                eps = "no limit" if cell["eps"] is None else size(cell["norm"], cell["eps"])
                key = classifier.label, cell["attack"], whole
                found.setdefault(key, []).append(f"{NORMS[cell['norm']]} {eps}")
    attacks = [
        Setting(label, name, whole.partition("(")[0], ", ".join(sizes), list(_parameters(whole)))
        for (label, name, whole), sizes in found.items()
    ]
    certificates = [
        Setting(
            classifier.label,
            f"{run.bound}, {run.interval}",
            "certificate",
            NORMS[run.norm],
            [
                (name.replace("_", " "), _plain(run.settings[name]))
                for name in (
                    *("sigma", "votes", "selection_votes", "confidence", "top", "radii", "seed"),
                )
                if name in run.settings and (name != "top" or run.top > 1)
            ],
        )
        for classifier in tables.classifiers(subjects)
        for run in classifier.certifications
    ]
    return attacks + certificates


def costs(subjects: Sequence[Subject]) -> list[Cost]:
    """Passes and time of each attack over all its sizes, of each certification, and beside them."""
    found: list[Cost] = []
    for classifier in tables.classifiers(subjects):
        for run in classifier.evaluations:
            for name, spent in run.about.get("costs", {}).items():
                called, passes = _BESIDE.get(name, name), (spent["forwards"], spent["backwards"])
                found.append(Cost(classifier.label, called, None, *passes, None))
            table = metrics.cells(run.attacked)
            table["seconds"] = [cell.get("seconds") for cell in run.cells]
            for name, part in table.groupby("attack", sort=False):
                seconds = part["seconds"].sum() if part["seconds"].notna().all() else None
                passes = int(part["forwards"].sum()), int(part["backwards"].sum())
                count = int(part["n"].max())
                found.append(Cost(classifier.label, str(name), count, *passes, seconds))
        for run in {run.path: run for run in classifier.certifications}.values():
            seconds = run.about["cells"][0].get("seconds")
            draws = int(run.rows["draws"].sum()) if "draws" in run.rows else None
            found.append(
                Cost(classifier.label, "certification", len(run.rows), draws, None, seconds)
            )
    return found


def caveats(subjects: Sequence[Subject]) -> str:
    """What the numbers do not say, in one paragraph."""
    classifiers = list(tables.classifiers(subjects))
    attacked = any(classifier.evaluations for classifier in classifiers)
    proven = [classifier.proof for classifier in classifiers if classifier.proof]
    said = []
    if attacked:
        said.append(
            "Robust accuracy is what the attacks that were run left right: a ceiling, that another "
            "attack may lower and none can raise."
        )
    if proven:
        confidence = min(run.settings["confidence"] for run in proven)
        said.append(
            "Certified accuracy is about the smoothed classifier, never the base classifier; each "
            f"image's certificate holds with confidence {100 * confidence:g} %, for itself and not "
            "for all images at once, and by the floating-point noise that was drawn."
        )
        said.append(
            "STN multiplies certified accuracy by that confidence; here it is not, and "
            "tables/certified.csv has both."
        )
    said.append(
        "Intervals are 95 % Clopper–Pearson over the test images: they tell how the numbers would "
        "vary with other images of the same kind, not with another training of the network."
    )
    said.append(
        "An ℓp ball is a model of an attacker: rotations, other light or corruptions are not in it."
    )
    return " ".join(said)


def references(subjects: Sequence[Subject], runs: Sequence[RunFolder]) -> list[str]:
    """The papers of the attacks, certificates and diagnoses, in the order of their first use."""
    names: list[str] = []
    for classifier in tables.classifiers(subjects):
        for run in classifier.evaluations:
            for about in run.settings["attacks"]:
                names += _NAME.findall(about["attack"])
        for proof in classifier.certifications:
            names += [proof.bound, proof.interval, *(["top"] if proof.top > 1 else [])]
    names += [str(run.settings["diagnosis"]) for run in runs if "diagnosis" in run.settings]
    return list(dict.fromkeys(REFERENCES[name] for name in names if name in REFERENCES))


def _command(run: RunFolder | CertifiedRun) -> str:
    return run.about.get("command") or ""


def _parameters(whole: str) -> Iterator[tuple[str, str]]:
    """The parameters of a repr, split where its own commas are."""
    inside = whole.partition("(")[2].removesuffix(")")
    depth, begin = 0, 0
    for place, letter in enumerate(f"{inside},"):
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            name, equals, value = inside[begin:place].strip().partition("=")
            if equals and name.isidentifier():
                yield name.replace("_", " "), _plain(value)
            elif name:
                yield "", inside[begin:place].strip()
            begin = place + 1


def _plain(value: object) -> str:
    """A value as people say it."""
    words = {"True": "yes", "False": "no", "None": "by default", "[]": "none"}
    return words.get(str(value), str(value).strip("'\""))
