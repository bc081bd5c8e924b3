"""Accuracy under attack: of one attack at one size, and in the worst case over several."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from holdfast.metrics.top5 import TOP5, top5
from holdfast.statistics import Array, proportion_interval

__all__ = [
    "at_finite_sizes",
    "broken_by",
    "broken_by_size",
    "cells",
    "evaluation_cells",
    "finite_sizes",
    "from_zero",
    "met_by_all",
    "round_sizes",
    "worst_case",
]

#: What tells the rows of one attack at one size from others.
CELL = ["attack", "norm", "eps"]


def cells(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each attack and size: how many examples it left robust.

    Rows of the images as they are, which have no norm, are left out.

    ``robust_accuracy`` is the fraction of all n examples that are classified rightly after the
    attack, with its 95 % Clopper-Pearson interval ``low``, ``high``. ``median_distance`` is over
    the examples that the attack fooled, in the attack's norm; missing if there are none. Rows out
    of `ranked` tell what was left of top-5 accuracy too; see `top5`.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import PGD
        >>> rows = evaluate(model, x, y, {"pgd": PGD(Linf(0.3), steps=5)}).rows
        >>> table = metrics.cells(rows)
        >>> table[["attack", "eps", "robust_accuracy"]].to_numpy().tolist()
        [['pgd', 0.3, 0.0]]
    """
    found = []
    attacked = rows[rows["norm"] != "none"]
    for (attack, norm, eps), part in attacked.groupby(CELL, sort=False):
        right_before = part["clean_prediction"] == part["label"]
        broken = part.loc[part["fooled"] & right_before, norm]
        found.append(
            {
                "attack": attack,
                "norm": norm,
                "eps": eps,
                "n": len(part),
                "clean_accuracy": float(right_before.mean()),
                **_accuracy(~part["fooled"]),
                **top5(part),
                "median_distance": float(broken.median()),
                "forwards": int(part["forwards"].sum()),
                "backwards": int(part["backwards"].sum()),
            }
        )
    return pd.DataFrame(found)


def evaluation_cells(
    rows: pd.DataFrame,
    parts: Sequence[Sequence[str]],
    skipped: Sequence[Mapping[str, str]],
) -> list[dict[str, Any]]:
    """One record for each attack and size, as run.json holds it: `cells`, without an infinity.

    Args:
        rows: of an evaluation; out of `ranked`, for records that say top-5 too.
        parts: of each attack that is a cascade the names of its parts; of any other none.
        skipped: of each attack what could not run, and why. Where it is the attack itself, and it
            has seen nothing of the images that it left, it says nothing of what is robust.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import DeepFool
        >>> from holdfast import L2
        >>> rows = evaluate(model, x, y, {"deepfool": DeepFool(L2(float("inf")))}).rows
        >>> (cell,) = metrics.evaluation_cells(rows, [()], [{}])
        >>> cell["attack"], cell["eps"], cell["n"]
        ('deepfool', None, 4)
    """
    attacked = rows[rows["norm"] != "none"]
    found = []
    for line, names, without, (_, part) in zip(
        cells(attacked).to_dict(orient="records"),
        parts,
        skipped,
        attacked.groupby(CELL, sort=False),
        strict=True,
    ):
        cell: dict[str, Any] = {
            str(key): None if value == math.inf or pd.isna(value) else value
            for key, value in line.items()
        }
        if names:
            cell["broken_by"] = broken_by(part, names)
        if cell["attack"] in without and (part["blind"] | part["fooled"]).all():
            cell |= dict.fromkeys(cell.keys() & {"robust_accuracy", "low", "high", *TOP5})
        found.append(cell)
    return found


def broken_by(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, int]:
    """How many images each part of a cascade broke, of those that the parts before it left.

    Args:
        rows: of one cascade at one size.
        names: of all its parts, in the order in which they ran.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import broken_by
        >>> rows = pd.DataFrame({"fooled": [True, True, False], "by": ["apgd", "square", ""]})
        >>> broken_by(rows, ["apgd", "fab", "square"])
        {'apgd': 1, 'fab': 0, 'square': 1}
    """
    counts = rows.loc[rows["fooled"], "by"].value_counts()
    return {name: int(counts.get(name, 0)) for name in names}


def at_finite_sizes(rows: pd.DataFrame, beside: Mapping[str, Array] | None = None) -> pd.DataFrame:
    """Rows of attacks without a limit, read at finite sizes; all other rows as they are.

    An attack that looks for the smallest perturbation has been run once, with ``eps`` infinite, and
    yet tells what happens at every size: an image is fooled there if its perturbation fits. The
    sizes are those of the same norm's other attacks or, without any, about ten round ones.

    Args:
        rows: of one model.
        beside: by norm, sizes at which such an attack is read too, as another model's may ask.

    Example:
        >>> from holdfast import L2, evaluate
        >>> from holdfast.attacks import DeepFool
        >>> from holdfast.metrics import at_finite_sizes
        >>> rows = evaluate(model, x, y, {"deepfool": DeepFool(L2(float("inf")))}).rows
        >>> attacked = rows[rows["attack"] == "deepfool"]
        >>> len(attacked), bool((at_finite_sizes(attacked)["eps"] < float("inf")).all())
        (4, True)
    """
    unlimited = np.isinf(rows["eps"])
    limited = rows[~unlimited]
    parts = [limited]
    own = finite_sizes(rows)
    for norm, part in rows[unlimited].groupby("norm", sort=False):
        others = limited[limited["norm"] == norm]
        sizes = np.union1d(own[norm], (beside or {}).get(norm, ()))
        for attack, mine in part.groupby("attack", sort=False):
            # Where the attack was also run with a limit, that is what it does there.
            for size in np.setdiff1d(sizes, others.loc[others["attack"] == attack, "eps"]):
                fits = mine[norm] <= size * (1 + 1e-6)
                parts.append(mine.assign(eps=size, fooled=mine["fooled"] & fits))
    return pd.concat(parts, ignore_index=True)


def finite_sizes(rows: pd.DataFrame) -> dict[str, Array]:
    """By norm, the sizes at which attacks were run or, having no limit, are read.

    Example:
        >>> from holdfast import L2, evaluate
        >>> from holdfast.attacks import FGSM, DeepFool
        >>> from holdfast.metrics import finite_sizes
        >>> attacks = {"deepfool": DeepFool(L2(float("inf"))), "fgsm": FGSM(L2(0.5))}
        >>> rows = evaluate(model, x, y, attacks).rows
        >>> finite_sizes(rows[rows["attack"] != "clean"])
        {'l2': array([0.5])}
    """
    found = {}
    for norm, part in rows.groupby("norm", sort=False):
        sizes = part.loc[np.isfinite(part["eps"]), "eps"].unique()
        if not len(sizes):
            sizes = round_sizes(part.loc[part["fooled"], norm])
            sizes = np.unique(np.ceil(sizes)) if norm == "l0" else sizes  # which counts
        found[str(norm)] = sizes
    return found


def round_sizes(distances: "pd.Series[float]") -> Array:
    """About ten multiples of 1, 2 or 5 times a power of ten, up to nearly the largest distance.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import round_sizes
        >>> round_sizes(pd.Series([0.1, 0.7, 0.9])).tolist()
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    """
    largest = float(distances.quantile(0.95)) if len(distances) else 0.0
    if largest == 0.0:
        return np.array([1.0])  # nothing was fooled, or nothing had to be moved: a flat curve
    power = 10.0 ** np.floor(np.log10(largest / 10))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= largest / 10)
    return (step * np.arange(1, np.ceil(largest / step) + 1)).round(12)


def from_zero(table: pd.DataFrame) -> pd.DataFrame:
    """A table from `cells`, every attack's curve begun at size 0 with the accuracy without it.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import PGD
        >>> rows = evaluate(model, x, y, {"pgd": PGD(Linf(0.3), steps=5)}).rows
        >>> table = metrics.cells(rows[rows["attack"] == "pgd"])
        >>> metrics.from_zero(table)[["eps", "robust_accuracy"]].to_numpy().tolist()
        [[0.0, 1.0], [0.3, 0.0]]
    """
    missing = table[~table["attack"].isin(table.loc[table["eps"] == 0, "attack"])]
    start = missing.drop_duplicates("attack").assign(eps=0.0)
    start["robust_accuracy"] = start["clean_accuracy"]
    right = (start["clean_accuracy"] * start["n"]).round().astype(int)
    start["low"], start["high"] = proportion_interval(right.to_numpy(), start["n"].to_numpy())
    return pd.concat([start, table], ignore_index=True)


def without_attack(rows: pd.DataFrame) -> "pd.Series[float]":
    """Accuracy on the images as they are: n, robust_accuracy, low, high.

    Args:
        rows: those of the unattacked images, one for each.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import FGSM
        >>> rows = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}).rows
        >>> metrics.without_attack(rows[rows["attack"] == "clean"])["robust_accuracy"].item()
        1.0
    """
    right = rows["clean_prediction"] == rows["label"]
    return pd.Series({"n": len(rows), **_accuracy(right)})


def worst_case(rows: pd.DataFrame) -> pd.DataFrame:
    """Worst case over all attacks of one norm, per example, at every size from 0 up.

    An image that any attack fooled within some size counts as fooled at every larger size, since
    the same adversarial image is allowed there. At size 0 is the accuracy without attack. It is
    taken over the images that every attack met at every size: others would count as robust
    against what was never tried on them.

    Returns:
        norm, eps, n, robust_accuracy, low, high; one line for each norm and size.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import FGSM, PGD
        >>> attacks = {"fgsm": FGSM(Linf(0.3)), "pgd": PGD(Linf(0.3), steps=5)}
        >>> rows = evaluate(model, x, y, attacks).rows
        >>> worst = metrics.worst_case(rows[rows["attack"] != "clean"])
        >>> worst[["eps", "robust_accuracy"]].to_numpy().tolist()
        [[0.0, 1.0], [0.3, 0.0]]
    """
    found = []
    for norm, part in rows.groupby("norm", sort=False):
        broken = broken_by_size(part)
        found += [
            {"norm": norm, "eps": eps, "n": len(broken), **_accuracy(~broken[eps])}
            for eps in broken.columns
        ]
    return pd.DataFrame(found)


def broken_by_size(rows: pd.DataFrame) -> pd.DataFrame:
    """Whether any attack of one norm broke each image at each size or a smaller one.

    Returns:
        True and False; one line for each image that every attack met at every size, one column for
        each size from 0 up, where what was wrong without attack is broken.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import PGD
        >>> rows = evaluate(model, x, y, {"pgd": PGD(Linf(0.3), steps=5)}).rows
        >>> metrics.broken_by_size(rows[rows["attack"] == "pgd"]).mean().to_dict()
        {0.0: 0.0, 0.3: 1.0}
    """
    met = met_by_all(rows)
    images, image = np.unique(met["index"].to_numpy(), return_inverse=True)
    sizes = np.union1d([0.0], rows["eps"].to_numpy(dtype=float))
    size = np.searchsorted(sizes, met["eps"].to_numpy(dtype=float))
    broken = np.zeros((len(images), len(sizes)), dtype=bool)
    fooled = met["fooled"].to_numpy(dtype=bool)
    broken[image[fooled], size[fooled]] = True
    broken[image[(met["clean_prediction"] != met["label"]).to_numpy()], 0] = True
    broken = np.logical_or.accumulate(broken, axis=1)
    return pd.DataFrame(broken, index=pd.Index(images, name="index"), columns=sizes)


def met_by_all(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the images that have one for each attack and size.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import met_by_all
        >>> rows = pd.DataFrame(
        ...     {"attack": ["a", "a", "b"], "norm": "linf", "eps": 0.1, "index": [0, 1, 0]}
        ... )
        >>> met_by_all(rows)["index"].tolist()  # b was never tried on image 1
        [0, 0]
    """
    met = rows.groupby("index")["index"].transform("size")
    return rows[met == len(rows[CELL].drop_duplicates())]


def _accuracy(robust: "pd.Series[bool]") -> dict[str, Any]:
    """A fraction of examples with its 95 % interval."""
    low, high = proportion_interval(int(robust.sum()), len(robust))
    return {"robust_accuracy": float(robust.mean()), "low": float(low), "high": float(high)}
