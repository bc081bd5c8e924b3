"""What ``holdfast evaluate`` prints of what it found."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from holdfast import metrics
from holdfast.cli.audit import as_json, told
from holdfast.cli.common import percent, print_json, print_table, size
from holdfast.evaluation import Evaluation, Study

#: What is said of top-5 accuracy where no attack pushed the label out of all five classes.
_UPPER = "attacks on the top class leave an upper limit, goal=top_margin(top=5) a lower one"


def show_evaluation(found: Evaluation, *, json: bool, behind: str = "") -> None:
    """A line for each attack at each size, and the word of the audit first.

    Args:
        found: what was found.
        json: print one JSON object and nothing else.
        behind: the noise that votes are taken under, if any.
    """
    if json:
        print_json({"cells": found.cells, **_beside_cells(found)})
        return
    first = found.cells[0]
    print(told(found.audit))
    name = f"{first['model']} with {behind}" if behind else first["model"]
    print_table(
        f"{name}, clean accuracy {percent(first['clean_accuracy'])} of {first['n']} images",
        [
            {
                "attack": cell["attack"],
                "size": f"{cell['norm']} {size(cell['eps'])}",
                "robust\naccuracy": _or_skipped(cell["robust_accuracy"]),
                "95 %\ninterval": _between(cell["low"], cell["high"]),
                "median\ndistance": _short(cell["median_distance"]),
                "seconds": f"{cell['seconds']:.3g}",
            }
            for cell in found.cells
        ],
    )
    _print_top5(found.cells)
    _print_parts(found.cells)
    for text in metrics.untried(found.cells):
        print(text)
    _print_perturbations([line for line in _moved(found) if line["eps"] is None])


def show_study(found: Study, *, json: bool) -> None:
    """The word of every run's audit, and the worst case of each model at each size."""
    if json:
        runs = [{**member._asdict(), **_beside_cells(one)} for member, one in found.found.items()]
        print_json({"cells": found.cells, "runs": runs})
        return
    for member, one in found.found.items():
        print(f"{member}: {told(one.audit)}")
        for text in metrics.untried(one.cells):
            print(f"{member}: {text}")
    worst = found.worst.to_dict(orient="records")
    _print_worst("right of each model's images", worst, "robust_accuracy")
    if "robust_top5" in worst[0]:
        limit = "" if any(map(metrics.aimed_at_five, found.cells)) else f"; {_UPPER}"
        _print_worst(f"right among five classes{limit}", worst, "robust_top5")


def _print_worst(title: str, worst: Sequence[Mapping[Any, Any]], share: str) -> None:
    """A line for each model, a column for each size."""
    lines: dict[str, dict[str, Any]] = {}
    for at in worst:
        line = lines.setdefault(at["model"], {"model": at["model"]})
        what = f"{at['norm']} {size(at['eps'])}" if at["eps"] else "without\nattack"
        line[what] = percent(at[share])
    print_table(f"{title}, in the worst case over all attacks and seeds", list(lines.values()))


def _print_top5(cells: Sequence[Mapping[str, Any]]) -> None:
    """What each attack left of top-5 accuracy, where the data have many classes."""
    if "clean_top5" in cells[0]:
        five = [metrics.aimed_at_five(cell) for cell in cells]
        print_table(
            f"top-5 accuracy, {percent(cells[0]['clean_top5'])} without an attack"
            + ("" if all(five) else f"; {_UPPER}"),
            [
                {
                    "attack": cell["attack"],
                    "size": f"{cell['norm']} {size(cell['eps'])}",
                    **({"aimed at": "five" if aims else "-"} if any(five) else {}),
                    "top-5\naccuracy": _or_skipped(cell["robust_top5"]),
                    "95 %\ninterval": _between(cell["top5_low"], cell["top5_high"]),
                }
                for cell, aims in zip(cells, five, strict=True)
            ],
        )


def _print_parts(cells: Sequence[Mapping[str, Any]]) -> None:
    """What each part of a cascade broke, of what the parts before it had left."""
    for attack in dict.fromkeys(cell["attack"] for cell in cells if "broken_by" in cell):
        own = [cell for cell in cells if cell["attack"] == attack]
        parts = dict.fromkeys(part for cell in own for part in cell["broken_by"])
        print_table(
            f"{attack}: images that each part broke, of those that the parts before it left",
            [
                {
                    "part": part,
                    **{
                        f"{cell['norm']} {size(cell['eps'])}": cell["broken_by"].get(part, 0)
                        for cell in own
                    },
                }
                for part in parts
            ],
        )


def _beside_cells(found: Evaluation) -> dict[str, Any]:
    """What ``--json`` says of an evaluation, beside its cells."""
    told_too = {"perturbations": _moved(found), "warnings": found.warnings}
    return {**told_too, **as_json(found.audit)}


def _moved(found: Evaluation) -> list[dict[str, Any]]:
    """How far attacks moved images, with None for what is infinite or not known, as JSON has it."""
    return [
        {
            str(key): None if value == math.inf or pd.isna(value) else value
            for key, value in line.items()
        }
        for line in metrics.perturbation_sizes(found.rows).to_dict(orient="records")
    ]


def _print_perturbations(lines: list[dict[str, Any]]) -> None:
    """How far attacks without a limit had to move the images."""
    if lines:
        print_table(
            "mean perturbation, relative to the image (ρ), and accuracy at fractions of ε_ref, "
            "where half are wrong",
            [
                {
                    "attack": line["attack"],
                    "mean\nl2": _short(line["mean_l2"]),
                    "ρ₂": _short(line["rho_2"]),
                    "mean\nlinf": _short(line["mean_linf"]),
                    "ρ∞": _short(line["rho_inf"]),
                    "ε_ref": _short(line["eps_ref"]),
                    **{
                        f"%\n@{fraction:g}": "-" if right is None else f"{100 * right:.1f}"
                        for fraction in metrics.FRACTIONS
                        for right in [line[f"accuracy@{fraction:g}"]]
                    },
                }
                for line in lines
            ],
        )


def _short(number: float | None) -> str:
    return "-" if number is None else f"{number:.3g}"


def _or_skipped(accuracy: float | None) -> str:
    """What an attack left; it says nothing if it could not run."""
    return "skipped" if accuracy is None else percent(accuracy)


def _between(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{100 * low:.1f}–{100 * high:.1f}"
