"""The figures for a paper, as PDF and SVG beside the page."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from holdfast import metrics
from holdfast.report import figures, implied, pictures, style, tables
from holdfast.report.classifier import Classifier
from holdfast.report.gallery import Gallery
from holdfast.report.subjects import Subject
from holdfast.report.views import attack_names


def save_figures(
    subjects: Sequence[Subject], shown: Mapping[int, list[list[Gallery]]], folder: Path
) -> None:
    """Save what a paper may show of some networks.

    Args:
        subjects: the networks.
        shown: galleries by the identity of their classifier.
        folder: for the files.
    """
    names = attack_names(subjects)
    _save_certified(list(tables.classifiers(subjects)), folder)
    for subject, name in zip(subjects, tags(subjects), strict=True):
        itself = next((c for c in subject.classifiers if c.sigma is None), None)
        for classifier in subject.classifiers:
            tag = f"{name}-{classifier.tag}"
            certified = [run.norm for run in classifier.certifications if run.top == 1]
            attacked = (
                [] if not classifier.evaluations else list(classifier.attacked["norm"].unique())
            )
            if certified or len(subject.classifiers) == 1:
                for norm in dict.fromkeys([*certified, *attacked]):
                    style.save(_bounds(classifier, itself, norm), folder / f"bounds-{tag}-{norm}")
            for norm in attacked:
                cells = classifier.cells[classifier.cells["norm"] == norm]
                curves = metrics.from_zero(cells)
                figure = figures.accuracy_by_attack(norm, curves, names)
                style.save(figure, folder / f"attacks-{tag}-{norm}")
            before: list[str] = []
            for strongest, *_ in shown[id(classifier)]:
                again = before.count(strongest.norm)
                suffix = f"-{again + 1}" if again else ""
                before.append(strongest.norm)
                path = folder / f"gallery-{tag}-{strongest.norm}{suffix}"
                style.save(pictures.gallery(strongest), path)


def tags(subjects: Sequence[Subject]) -> list[str]:
    """How files name each network: short, of letters and digits, and no two alike."""
    tags: list[str] = []
    for subject in subjects:
        tag = re.sub(r"[^A-Za-z0-9]", "-", subject.name)[-60:]
        tags.append(f"{tag}-{len(tags) + 1}" if tag in tags else tag)
    return tags


def _save_certified(classifiers: Sequence[Classifier], folder: Path) -> None:
    """The certified accuracy of all smoothed classifiers, if several, in one figure a norm."""
    for norm in ("l2", "l1"):
        proofs = [(c, c.proof) for c in classifiers if c.proof is not None and c.proof.norm == norm]
        curves = [(classifier.label, implied.floor(proof, norm)) for classifier, proof in proofs]
        if len(curves) > 1:
            marks = sorted({r for _, proof in proofs for r in proof.settings.get("radii", ())})
            style.save(
                figures.certified_accuracy(norm, curves, marks), folder / f"certified-{norm}"
            )


def _bounds(classifier: Classifier, itself: Classifier | None, norm: str) -> Figure:
    """Floor and ceiling of a classifier."""
    empty = pd.DataFrame({"norm": []})
    attacked = classifier.worst if classifier.evaluations else empty
    without = empty
    if classifier.sigma is not None and itself is not None and itself.evaluations:
        without = itself.worst
        without = without[without["norm"] == norm]
    floors = [
        (f"certified (floor), {run.title}", implied.floor(run, norm))
        for run in classifier.certifications
        if run.top == 1
    ]
    other = {run.norm for run in classifier.certifications if run.top == 1} - {norm}
    marks = sorted({r for run in classifier.certifications for r in run.settings.get("radii", ())})
    ceiling = attacked[attacked["norm"] == norm]
    return figures.floor_and_ceiling(norm, ceiling, floors, without, () if other else marks)
