"""What the page's figures show: one view for each classifier and norm, as plain numbers.

Everything here is looked up in `metrics`; the page draws it, and adds nothing up.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from holdfast import metrics
from holdfast.report import implied, tables
from holdfast.report.classifier import Classifier
from holdfast.report.folders import CertifiedRun
from holdfast.report.gap import on_same_images
from holdfast.report.subjects import Subject

_POINTS = 240  # of a certified curve: each is exact, and more could not be told apart
_CLASSES = 60  # that figures show; tables/by-class.csv has all
_CRAFTED = re.compile(r"\bOn\(.*\bname=(['\"])(.*?)\1, weights=")

Numbers = list[list[float | None]]


def attack_names(subjects: Sequence[Subject]) -> list[str]:
    """All attacks of all classifiers; the place of a name in it is its colour everywhere."""
    return list(
        dict.fromkeys(
            str(name)
            for classifier in tables.classifiers(subjects)
            for run in classifier.evaluations
            for name in run.attacked["attack"].unique()
        )
    )


def view(classifier: Classifier, norm: str, sizes: Sequence[float]) -> dict[str, Any] | None:
    """A classifier in a norm: its worst case, certificates, attacks, and who broke what.

    Args:
        classifier: of the report.
        norm: "linf", "l2", "l1" or "l0".
        sizes: that the page offers, at which certified accuracy is read.

    Returns:
        None if nothing is known of it there.
    """
    rows = classifier.attacked_in(norm)
    run = classifier.proof
    own = run if run is not None and run.norm == norm else None
    if not len(rows) and own is None:
        return None
    found: dict[str, Any] = {"sizes": [], "attacks": {}, "at": []}
    if len(rows):
        worst = classifier.worst[classifier.worst["norm"] == norm]
        cells = classifier.cells[classifier.cells["norm"] == norm]
        found["sizes"] = [_short(eps) for eps in sorted(cells["eps"].unique())]
        found["ceiling"] = _points(worst)
        found["attacks"] = {
            str(attack): _points(part.sort_values("eps"))
            for attack, part in metrics.from_zero(cells).groupby("attack", sort=False)
        }
    if run is not None:
        found["floor"] = _floor(run, norm, sizes)
        found["implied"] = None if own else run.norm
    # One figure shows both sides of one thing: of the images that both have.
    same = on_same_images(rows, own) if own is not None and len(rows) else None
    both = None if same is None else same[1]
    if same is not None:
        met, both = same
        found["both"] = {
            "n": len(both.rows),
            "ceiling": _points(metrics.worst_case(met)),
            "floor": _floor(both, norm, sizes),
        }
    if len(rows):
        classes = metrics.by_class(rows)
        found["at"] = [
            {**_broke(rows, float(eps)), "classes": _classes(part.copy(), float(eps), both)}
            for eps, part in classes.groupby("eps")
        ]
    return found


def certified_curves(subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """Certified accuracy of every smoothed classifier, with every bound and interval."""
    return [
        {
            "model": place,
            "norm": run.norm,
            "sigma": classifier.sigma,
            "network": classifier.network,
            "title": run.title,
            "guaranteed": run.guaranteed,
            "curve": _floor(run, run.norm, ()),
        }
        for place, classifier in enumerate(tables.classifiers(subjects))
        for run in classifier.certifications
    ]


def transfers(subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """Robust accuracy under attacks crafted on other models, beside those on the model itself."""
    found = []
    for place, classifier in enumerate(tables.classifiers(subjects)):
        for run in classifier.evaluations:
            cells = metrics.cells(run.attacked).to_dict(orient="records")
            for cell, about in zip(cells, run.settings["attacks"], strict=True):
                crafted = _CRAFTED.search(about["attack"])
                found.append(
                    {
                        "model": place,
                        "source": crafted[2] if crafted else None,
                        "attack": about["name"],
                        "norm": cell["norm"],
                        "eps": _short(float(cell["eps"])),
                        "accuracy": _short(float(cell["robust_accuracy"])),
                        "n": int(cell["n"]),
                    }
                )
    sent = {(one["attack"], one["norm"], one["eps"]) for one in found if one["source"]}
    return [one for one in found if (one["attack"], one["norm"], one["eps"]) in sent]


def _broke(rows: pd.DataFrame, eps: float) -> dict[str, Any]:
    """Who broke what at a size."""
    broken = metrics.broken_within(rows, eps)
    table = metrics.contributions(broken)
    names = list(table["attack"])
    shared = metrics.overlap(broken).reindex(index=names, columns=names)
    return {
        "right": len(broken),
        "n": int(metrics.met_by_all(rows)["index"].nunique()),
        "broke": table.to_numpy().tolist(),
        "overlap": [[_short(value) for value in line] for line in shared.to_numpy()],
        "times": metrics.times_broken(broken),
    }


def _classes(classes: pd.DataFrame, eps: float, proof: CertifiedRun | None) -> Numbers:
    """Who is robust at a size; certified accuracy is that of the same images."""
    columns = ["label", "n", "clean_accuracy", "robust_accuracy", "low", "high"]
    if proof is not None:
        proven = metrics.certified_by_class(proof.rows, eps).set_index("label")["robust_accuracy"]
        classes["certified"] = classes["label"].map(proven)
        columns.append("certified")
    shown = classes.sort_values("robust_accuracy", kind="stable")[:_CLASSES]
    return [[_short(value) for value in line] for line in shown[columns].to_numpy()]


def _floor(run: CertifiedRun, norm: str, sizes: Sequence[float]) -> Numbers:
    """Certified accuracy at enough radii to draw it, and at every size of the attacks.

    Each is that of the radius as it is written, whose digits may have been rounded up.
    """
    largest = implied.largest_radius(run, norm)
    radii = np.concatenate([np.linspace(0, largest, _POINTS), sizes, [largest * (1 + 1e-4)]])
    return _points(implied.floor(run, norm, np.unique([float(_short(r)) for r in radii])))


def _points(table: pd.DataFrame) -> Numbers:
    columns = ["eps", "robust_accuracy", "low", "high", "n"]
    return [[_short(value) for value in line] for line in table[columns].to_numpy()]


def _short(value: float) -> Any:
    """A number with as many digits as a figure can show; None for one that is not known."""
    if pd.isna(value):
        return None
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() else short
