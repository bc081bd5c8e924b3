"""Tables of the report, from the rows of its subjects."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from holdfast import metrics
from holdfast.report.classifier import Classifier
from holdfast.report.gap import Gap, gap
from holdfast.report.implied import floor
from holdfast.report.subjects import Subject
from holdfast.report.words import size
from holdfast.summary import radius

__all__ = ["attacks", "by_class", "ceilings", "floors", "perturbations", "summary"]

#: At most so many sizes stand side by side in the summary.
_COLUMNS = 5


def classifiers(subjects: Sequence[Subject]) -> Iterator[Classifier]:
    """All classifiers of all subjects."""
    for subject in subjects:
        yield from subject.classifiers


def attacks(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Every cell of every evaluation: network, sigma, attack, norm, eps, accuracy and interval.

    Of data of more than ten classes top-5 accuracy too; see `holdfast.metrics.top5`.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.report.subjects import read_subjects
        >>> from holdfast.report.tables import attacks
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> attacks(read_subjects(["run"]))[["attack", "norm", "eps"]].to_numpy().tolist()
        [['fgsm', 'linf', 0.3]]
    """
    return _stacked(
        (classifier, metrics.cells(classifier.attacked))
        for classifier in classifiers(subjects)
        if classifier.evaluations
    )


def perturbations(subjects: Sequence[Subject]) -> pd.DataFrame:
    """How far each attack had to move each classifier's images, and accuracy at fractions of ε_ref.

    Classifiers are compared at one ε_ref for each attack and norm: that of the classifier which
    holds out longest (DD 4.1, where it is the regularised network).

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.report.subjects import read_subjects
        >>> from holdfast.report.tables import perturbations
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> perturbations(read_subjects(["run"]))["attack"].tolist()
        ['fgsm']
    """
    evaluated = [each for each in classifiers(subjects) if each.evaluations]
    own = [
        line
        for each in evaluated
        for line in metrics.perturbation_sizes(each.attacked).to_dict(orient="records")
    ]
    every = pd.DataFrame(own, columns=["attack", "norm", "eps_ref"])
    largest = every.groupby(["attack", "norm"])["eps_ref"].max().to_dict()
    return _stacked(
        (each, metrics.perturbation_sizes(each.attacked, largest)) for each in evaluated
    )


def ceilings(subjects: Sequence[Subject]) -> pd.DataFrame:
    """The worst case over all attacks, for each classifier, norm and size.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.report.subjects import read_subjects
        >>> from holdfast.report.tables import ceilings
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> ceilings(read_subjects(["run"]))["eps"].tolist()
        [0.0, 0.3]
    """
    return _stacked(
        (classifier, classifier.worst)
        for classifier in classifiers(subjects)
        if classifier.evaluations
    )


def floors(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Certified accuracy of each certification over its radius, with what it rests on.

    Example:
        >>> from holdfast.certify import CertificationConfig, certify
        >>> from holdfast.report.subjects import read_subjects
        >>> from holdfast.report.tables import floors
        >>> result = certify(model, x, y, config=CertificationConfig(sigma=0.1), out="run")
        >>> floors(read_subjects(["run"]))["norm"].unique().tolist()
        ['l2']
    """
    parts = []
    for classifier in classifiers(subjects):
        for run in classifier.certifications:
            table = floor(run, run.norm)
            for place, name in enumerate(("norm", "bound", "interval")):
                table.insert(place, name, getattr(run, name))
            table.insert(0, "certificate", run.title)
            table.insert(0, "votes", run.settings["votes"])
            table.insert(1, "confidence", run.settings["confidence"])
            table["times_confidence"] = table["robust_accuracy"] * run.settings["confidence"]
            parts.append((classifier, table))
    return _stacked(iter(parts))


class Strongest(NamedTuple):
    """The attack that by itself left the fewest images robust at one size.

    All attacks of a norm are compared on the images that each of them met.
    """

    norm: str
    eps: float
    attack: str
    robust_accuracy: float
    others: list[tuple[str, float]]  # the other attacks at this size, and what each left
    parts: dict[str, int]  # of a cascade: what each broke, of what those before it had left
    n: int  # images
    top5: float | None  # what it left of top-5 accuracy, of data of more than ten classes
    worst_case: float  # what all attacks together left, at this size and smaller ones


def strongest_attacks(classifier: Classifier) -> list[Strongest]:
    """Which attack was strongest against a classifier, at every size of every norm."""
    parts = {key: parts for run in classifier.evaluations for key, parts in run.broken_by.items()}
    found = []
    for norm, rows in classifier.at_sizes.groupby("norm"):
        worst = classifier.worst[classifier.worst["norm"] == norm]
        worst = worst.set_index("eps")["robust_accuracy"]
        met = metrics.met_by_all(rows)
        table = classifier.cells[classifier.cells["norm"] == norm]
        table = table if len(met) == len(rows) else metrics.cells(met)
        table = table.sort_values("robust_accuracy", kind="stable")
        for eps, part in table.groupby("eps"):
            (first, left), *others = zip(part["attack"], part["robust_accuracy"], strict=True)
            broken = parts.get((first, norm, eps), {})
            count, all_left = int(part["n"].iloc[0]), float(worst[eps])
            top5 = float(part["robust_top5"].iloc[0]) if "robust_top5" in part else math.nan
            line = Strongest(
                str(norm),
                float(eps),
                first,
                left,
                others,
                broken,
                count,
                None if math.isnan(top5) else top5,
                all_left,
            )
            found.append(line)
    return found


class Cell(NamedTuple):
    """What is known of a classifier at one size: table rows, or None where nothing is.

    A certificate in another norm says something here too, if little: ``implied_by`` is that norm.
    Where it says nothing, nothing is proven here, which is not the same as that 0 % are robust.
    """

    shown: "pd.Series[float] | None"
    proven: "pd.Series[float] | None"
    gap: Gap | None
    implied_by: str | None = None


class Line(NamedTuple):
    """A classifier, with one cell for each size of the summary."""

    classifier: Classifier
    cells: list[Cell]


class Summary(NamedTuple):
    """Shown and proven side by side, at a few sizes of one norm."""

    sizes: list[float]
    lines: list[Line]


def summary(
    subjects: Sequence[Subject], norm: str, sizes: Sequence[float] | None = None
) -> Summary:
    """Shown and proven at some sizes of one norm, for all classifiers.

    Args:
        subjects: whose classifiers.
        norm: "linf", "l2", "l1" or "l0".
        sizes: a few of `sizes_of`, if they are not given.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.report.subjects import read_subjects
        >>> from holdfast.report.tables import summary
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> summary(read_subjects(["run"]), "linf").sizes
        [0.3]
    """
    if sizes is None:
        every = sizes_of(subjects, norm)
        places = np.linspace(0, len(every) - 1, min(len(every), _COLUMNS)).round().astype(int)
        sizes = [every[place] for place in places]
    lines = []
    for classifier in classifiers(subjects):
        table = pd.DataFrame()
        if classifier.evaluations:
            table = classifier.worst[classifier.worst["norm"] == norm].set_index("eps")
        run = classifier.proof
        gaps = gap(classifier.attacked_in(norm), run, norm) if run and len(table) else {}
        cells = []
        for eps in sizes:
            at = table.loc[eps] if eps in table.index else None
            proven = floor(run, norm, [eps]).iloc[0] if run else None
            implied_by = run.norm if run and run.norm != norm else None
            if implied_by and proven is not None and not proven["robust_accuracy"]:
                cells.append(Cell(at, None, None))
            else:
                cells.append(Cell(at, proven, gaps.get(eps), implied_by))
        lines.append(Line(classifier, cells))
    return Summary(list(sizes), lines)


def summary_table(subjects: Sequence[Subject], norm: str) -> pd.DataFrame:
    """The summary as a paper prints it: a line for each classifier, in percent."""
    every = summary(subjects, norm)
    lines = []
    for line in every.lines:
        classifier = line.classifier
        clean = classifier.without_attack["robust_accuracy"] if classifier.evaluations else None
        found: dict[str, object] = {"classifier": classifier.label, "clean": _in_percent(clean)}
        for eps, cell in zip(every.sizes, line.cells, strict=True):
            for words, at in (
                (f"robust, {size(norm, eps)}", cell.shown),
                (f"certified, {radius(eps)}", cell.proven),
            ):
                found[words] = _in_percent(None if at is None else at["robust_accuracy"])
        lines.append(found)
    return pd.DataFrame(lines)


def _in_percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * float(fraction), 1)


def by_class(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Accuracy of every class in the worst case, at every norm and size.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.report.subjects import read_subjects
        >>> from holdfast.report.tables import by_class
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> by_class(read_subjects(["run"]))["n"].sum().item()
        4
    """
    return _stacked(
        (classifier, metrics.by_class(part).assign(norm=norm))
        for classifier in classifiers(subjects)
        if classifier.evaluations
        for norm, part in classifier.at_sizes.groupby("norm", sort=False)
    )


def norms_of(subjects: Sequence[Subject]) -> list[str]:
    """The norms that anything is known in: those of the attacks, then those of the certificates."""
    attacked = [
        norm
        for classifier in classifiers(subjects)
        for run in classifier.evaluations
        for norm in run.attacked["norm"].unique()
    ]
    proven = [run.norm for c in classifiers(subjects) for run in c.certifications]
    return list(dict.fromkeys([*attacked, *proven]))


def sizes_of(subjects: Sequence[Subject], norm: str) -> list[float]:
    """At which attacks were run in a norm or, where none was, about ten radii of certificates."""
    attacked = {
        float(eps)
        for classifier in classifiers(subjects)
        if classifier.evaluations
        for eps in classifier.worst.loc[classifier.worst["norm"] == norm, "eps"]
        if eps > 0
    }
    return sorted(attacked) or _radii(subjects, norm)


def _radii(subjects: Sequence[Subject], norm: str) -> list[float]:
    """Radii to show certificates at: those that were asked for or, without any, round ones."""
    proofs = [
        run for c in classifiers(subjects) for run in c.certifications[:1] if run.norm == norm
    ]
    asked = sorted({float(r) for run in proofs for r in run.settings.get("radii", ())} - {0.0})
    if asked or not proofs:
        return asked
    return list(metrics.round_sizes(pd.concat([run.rows["radius"] for run in proofs])))


def _stacked(parts: Iterator[tuple[Classifier, pd.DataFrame]]) -> pd.DataFrame:
    tables = []
    for classifier, table in parts:
        table = table.copy()
        table.insert(0, "network", classifier.network)
        table.insert(1, "classifier", classifier.title)
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
