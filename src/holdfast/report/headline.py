"""The first screen: one norm, one size, a line for each classifier, and the verdict in words."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from markupsafe import Markup

from holdfast import metrics
from holdfast.report import implied, tables
from holdfast.report.audits import Belief, belief
from holdfast.report.classifier import Classifier
from holdfast.report.folders import CertifiedRun
from holdfast.report.gap import Gap
from holdfast.report.subjects import Subject
from holdfast.report.words import NORMS, USUAL, interval, listed, percent, size, usual
from holdfast.summary import radius


class Certified(NamedTuple):
    """Certified accuracy at a radius in the certificate's own norm."""

    norm: str
    radius: float
    line: "pd.Series[float]"


class Row(NamedTuple):
    """What the first screen says of a classifier; None where nothing is known.

    Attributes:
        place: of the classifier, among all.
        classifier: itself.
        clean: accuracy without attack.
        robust: the worst case at the headline's size.
        strongest: the attack that by itself left the fewest images right there.
        certified: in the certificate's own norm.
        gap: between the two over the same images, where both are in the headline's norm and size.
        belief: whether its robust and certified accuracy can be believed.
    """

    place: int
    classifier: Classifier
    clean: "pd.Series[float] | None"
    robust: "pd.Series[float] | None"
    strongest: tables.Strongest | None
    certified: Certified | None
    gap: Gap | None
    belief: Belief


class Headline(NamedTuple):
    """What the first screen says.

    Attributes:
        norm: that the models are compared in.
        eps: the size.
        rows: a line for each classifier, the most robust first.
        belief: of all of them together.
        words: the verdict, in sentences.
    """

    norm: str
    eps: float
    rows: list[Row]
    belief: Belief
    words: list[Markup]


def headline(
    subjects: Sequence[Subject], strongest: Sequence[Sequence[tables.Strongest]]
) -> Headline:
    """Choose what to say first, and say it.

    Args:
        subjects: the networks.
        strongest: the strongest attacks on each classifier.
    """
    classifiers = list(tables.classifiers(subjects))
    norm = max(tables.norms_of(subjects), key=lambda norm: _known(classifiers, norm))
    eps = usual(norm, _met_by_most(classifiers, norm) or tables.sizes_of(subjects, norm))
    lines = tables.summary(subjects, norm, [eps]).lines
    radii = {own: _radius(classifiers, own, norm, eps) for own in ("l2", "l1")}
    rows = []
    for place, (classifier, line) in enumerate(zip(classifiers, lines, strict=True)):
        (cell,) = line.cells
        attack = next((s for s in strongest[place] if (s.norm, s.eps) == (norm, eps)), None)
        run = classifier.proof
        certified = None
        if run is not None:
            at = implied.floor(run, run.norm, [radii[run.norm]]).iloc[0]
            certified = Certified(run.norm, radii[run.norm], at)
        gap = cell.gap if cell.implied_by is None else None
        clean = classifier.without_attack if classifier.evaluations else None
        row = Row(
            place, classifier, clean, cell.shown, attack, certified, gap, belief([classifier])
        )
        rows.append(row)
    rows.sort(key=_robustness, reverse=True)
    every = belief(classifiers)
    return Headline(norm, eps, rows, every, _words(rows, norm, eps))


def _known(classifiers: Sequence[Classifier], norm: str) -> tuple[int, int]:
    """How much is known in a norm: of how many classifiers both sides, and one side."""
    attacked = [
        any((run.rows["norm"] == norm).any() for run in each.evaluations) for each in classifiers
    ]
    proven = [each.proof is not None and each.proof.norm == norm for each in classifiers]
    both = sum(a and p for a, p in zip(attacked, proven, strict=True))
    return sum(attacked) + both, sum(proven)


def _met_by_most(classifiers: Sequence[Classifier], norm: str) -> list[float]:
    """Sizes at which the most classifiers were attacked: at another one fewer are compared."""
    sizes = Counter(
        float(eps)
        for each in classifiers
        if each.evaluations
        for eps in each.worst.loc[each.worst["norm"] == norm, "eps"]
        if eps > 0
    )
    return sorted(eps for eps, met in sizes.items() if met == max(sizes.values()))


def _radius(classifiers: Sequence[Classifier], own: str, norm: str, eps: float) -> float:
    """The radius to show certificates at that are in their own norm: the headline's size there."""
    proofs = [each.proof for each in classifiers if each.proof and each.proof.norm == own]
    if own == norm or not proofs:
        return eps
    asked = [float(r) for run in proofs for r in run.settings.get("radii", ()) if r > 0]
    candidates = [*asked, *USUAL[own], *metrics.round_sizes(_right_radii(proofs))[::-1]]
    for candidate in candidates:
        if any(implied.floor(run, own, [candidate])["robust_accuracy"][0] > 0 for run in proofs):
            return float(candidate)
    return float(candidates[-1])


def _right_radii(proofs: Sequence[CertifiedRun]) -> "pd.Series[float]":
    rows = pd.concat([run.rows for run in proofs])
    return rows.loc[rows["prediction"] == rows["label"], "radius"]


def _robustness(row: Row) -> tuple[float, float]:
    robust = -1.0 if row.robust is None else float(row.robust["robust_accuracy"])
    certified = -1.0 if row.certified is None else float(row.certified.line["robust_accuracy"])
    return robust, certified


def _words(rows: Sequence[Row], norm: str, eps: float) -> list[Markup]:
    """How robust, against what, how sure; the page says beside it whether to believe it."""
    attacked = [row for row in rows if row.robust is not None]
    words = []
    if attacked:
        words.append(_of_attacks(attacked[0], len(attacked), norm, eps))
    proven = [(row, row.certified) for row in rows if row.certified is not None]
    if proven:
        row, best = max(proven, key=lambda pair: pair[1].line["robust_accuracy"])
        words.append(_of_certificate(row, best, attacked))
    elif attacked and not any(row.classifier.top_proof for row in rows):
        words.append(Markup("Nothing is certified: what other attacks would leave, nobody knows."))
    words += [
        _of_top(row.classifier, row.classifier.top_proof, eps if norm == "l2" else None)
        for row in rows
        if row.classifier.top_proof is not None
    ]
    if len(attacked) > 1:
        last = attacked[-1]
        assert last.robust is not None
        accuracy = percent(last.robust["robust_accuracy"])
        words.append(
            Markup("The least robust, {}, keeps {}.").format(last.classifier.label, accuracy)
        )
    return words


def _of_attacks(best: Row, several: int, norm: str, eps: float) -> Markup:
    robust = best.robust
    assert robust is not None
    subject = Markup("<b>{}</b>").format(best.classifier.label)
    if several > 1:
        subject = Markup("The most robust of {} classifiers, {},").format(several, subject)
    text = Markup(
        "{} keeps <b class=robust>{}</b> robust accuracy at {} ≤ {} in the worst case over {} "
        "(95 % interval {}"
    ).format(
        subject,
        percent(robust["robust_accuracy"]),
        NORMS[norm],
        size(norm, eps),
        _attacks_met(best.classifier, norm, eps),
        interval(robust),
    )
    if best.clean is not None:
        text += Markup("; {} without attack").format(percent(best.clean["robust_accuracy"]))
    return text + ")."


def _of_certificate(row: Row, best: Certified, attacked: Sequence[Row]) -> Markup:
    subject = Markup("Its certified accuracy")
    if not attacked or row is not attacked[0]:
        subject = Markup("Certified accuracy of <b>{}</b>").format(row.classifier.label)
    accuracy, at = percent(best.line["robust_accuracy"]), radius(best.radius)
    text = Markup("{} is <b class=certified>{}</b> at {} ≤ {} ({})").format(
        subject, accuracy, NORMS[best.norm], at, interval(best.line)
    )
    if row.gap is not None:
        text += Markup(
            "; over the same {:,} images {:.1f} points lie between, open to dispute"
        ).format(row.gap.n, 100 * row.gap.fraction)
    elif row.robust is not None:
        text += Markup(", another norm than that of the attacks")
    elif attacked:
        text += Markup("; no attack was run on it there")
    return text + "."


def _of_top(classifier: Classifier, run: CertifiedRun, eps: float | None) -> Markup:
    """Certificates of more than the first class, at a radius that was asked for or the attacks'."""
    asked = [float(r) for r in run.settings.get("radii", ()) if r > 0]
    at = next(iter(asked), eps)
    if at is None:
        at = float(metrics.round_sizes(run.rows["radius"])[0])
    line = implied.floor(run, run.norm, [at]).iloc[0]
    return Markup(
        "Certified top-{} accuracy of <b>{}</b> is <b class=certified>{}</b> at {} ≤ {} ({}); {}."
    ).format(
        run.top,
        classifier.label,
        percent(line["robust_accuracy"]),
        NORMS[run.norm],
        radius(at),
        interval(line),
        _tested(classifier, run),
    )


def _tested(classifier: Classifier, run: CertifiedRun) -> str:
    """What attacks say of certificates of more than the first class: of those on as many classes.

    One on fewer that contradicts a certificate all the same does too.
    """
    cells = [cell for each in classifier.evaluations for cell in each.cells]
    met = any(cell["norm"] == run.norm and cell.get("top", 1) >= run.top for cell in cells)
    broken = tested = 0
    if cells:
        broken, tested = metrics.broken_certificates(classifier.attacked, run.rows, run.norm)
    if not met and not broken:
        return f"no attack here is on the first {run.top} classes"
    if not tested:
        return "attacks put none of these certificates to the test"
    return f"attacks contradict {broken} of the {tested} certificates that they put to the test"


def _attacks_met(classifier: Classifier, norm: str, eps: float) -> str:
    """The attacks that the worst case at a size is of: there, at smaller ones, or at any."""
    cells = classifier.cells
    names = list(
        dict.fromkeys(cells.loc[(cells["norm"] == norm) & (cells["eps"] <= eps), "attack"])
    )
    return listed(names) if len(names) <= 4 else f"{len(names)} attacks"
