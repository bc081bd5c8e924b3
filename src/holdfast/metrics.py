"""From rows to numbers. Pure functions on tables: no model, no attack, no file."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

from holdfast.statistics import Array, share_interval

CELL = ["attack", "norm", "eps"]

#: What makes an attack's gradients suspect (`misleading`).
_ENOUGH = 10  # images, below which nothing is said
_NEARLY_ALL = 0.95  # share of the right images that a suspect attack leaves right at the least
_DOWNHILL = 0.25  # share of the moved ones whose loss fell beyond which an ascent goes astray
_CHANCE = 0.01  # of one attack beating another so clearly if both were equally strong


def cells(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each attack and size: how many examples it left standing.

    ``robust_accuracy`` is the share of all n examples that are classified rightly after the attack,
    with its 95 % Clopper-Pearson interval ``low``, ``high``. ``median_distance`` is over the
    examples that the attack fooled, in the attack's norm; missing if there are none.
    """
    found = []
    for (attack, norm, eps), part in rows.groupby(CELL, sort=False):
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
                "median_distance": float(broken.median()) if len(broken) else None,
                "forwards": int(part["forwards"].sum()),
                "backwards": int(part["backwards"].sum()),
            }
        )
    return pd.DataFrame(found)


def broken_by(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, int]:
    """How many images each part of a cascade broke, of those that the parts before it left.

    Args:
        rows: of one cascade at one size.
        names: of all its parts, in the order in which they ran.
    """
    counts = rows.loc[rows["fooled"], "by"].value_counts()
    return {name: int(counts.get(name, 0)) for name in names}


def at_finite_sizes(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of attacks without a limit, read at finite sizes; all other rows as they are.

    An attack that looks for the smallest perturbation has been run once, with ``eps`` infinite, and
    yet tells what happens at every size: an image is fooled there if its perturbation fits. The
    sizes are those of the same norm's other attacks or, without any, about ten round ones.
    """
    unlimited = np.isinf(rows["eps"])
    limited = rows[~unlimited]
    parts = [limited]
    for norm, part in rows[unlimited].groupby("norm", sort=False):
        others = limited[limited["norm"] == norm]
        sizes = others["eps"].unique()
        if not len(sizes):
            sizes = _round_sizes(part.loc[part["fooled"], norm])
        for attack, mine in part.groupby("attack", sort=False):
            # Where the attack was also run with a limit, that is what it does there.
            for size in np.setdiff1d(sizes, others.loc[others["attack"] == attack, "eps"]):
                fits = mine[norm] <= size * (1 + 1e-6)
                parts.append(mine.assign(eps=size, fooled=mine["fooled"] & fits))
    return pd.concat(parts, ignore_index=True)


def _round_sizes(distances: "pd.Series[float]") -> Array:
    """About ten multiples of 1, 2 or 5 times a power of ten, up to nearly the largest distance."""
    largest = float(distances.quantile(0.95)) if len(distances) else 0.0
    if largest == 0.0:
        return np.array([1.0])  # nothing was fooled, or nothing had to be moved: a flat curve
    power = 10.0 ** np.floor(np.log10(largest / 10))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= largest / 10)
    return (step * np.arange(1, np.ceil(largest / step) + 1)).round(12)


def from_zero(table: pd.DataFrame) -> pd.DataFrame:
    """A table from `cells`, every attack's curve begun at size 0 with the accuracy without it."""
    missing = table[~table["attack"].isin(table.loc[table["eps"] == 0, "attack"])]
    start = missing.drop_duplicates("attack").assign(eps=0.0)
    start["robust_accuracy"] = start["clean_accuracy"]
    right = (start["clean_accuracy"] * start["n"]).round().astype(int)
    start["low"], start["high"] = share_interval(right.to_numpy(), start["n"].to_numpy())
    return pd.concat([start, table], ignore_index=True)


def worst_case(rows: pd.DataFrame) -> pd.DataFrame:
    """Worst case over all attacks of one norm, per example, at every size from 0 up.

    An image that any attack fooled within some size counts as fooled at every larger size, since
    the same adversarial image is allowed there. At size 0 stands the accuracy without attack. It is
    taken over the images that every attack met at every size: others would count as standing
    against what was never tried on them.

    Returns:
        norm, eps, n, robust_accuracy, low, high; one line for each norm and size.
    """
    found = []
    for norm, part in rows.groupby("norm", sort=False):
        part = met_by_all(part)
        fooled = part.pivot_table(index="index", columns="eps", values="fooled", aggfunc="max")
        clean = part.drop_duplicates("index").set_index("index")
        fooled.insert(0, 0.0, clean["clean_prediction"] != clean["label"], allow_duplicates=True)
        fooled = fooled.T.groupby(level=0).max().T
        ever = fooled.astype(bool).cummax(axis=1)
        found += [
            {"norm": norm, "eps": eps, "n": len(ever), **_accuracy(~ever[eps])}
            for eps in ever.columns
        ]
    return pd.DataFrame(found)


def met_by_all(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the images that have one for each attack and size."""
    met = rows.groupby("index")["index"].transform("size")
    return rows[met == len(rows[CELL].drop_duplicates())]


def blind_attacks(rows: pd.DataFrame) -> list[str]:
    """A sentence for each attack that looked for a gradient and saw none, and so could not move.

    Images that such an attack leaves standing say nothing about robustness.
    """
    notes = []
    for (attack, norm, eps), part in rows.groupby(CELL, sort=False):
        blind = part["blind"] & ~part["fooled"]
        if blind.any():
            notes.append(
                f"{attack} {norm} {eps:g}: for {blind.sum()} of {len(part)} images the gradient "
                "was exactly 0, not finite or cut off at every step, so the attack could not move: "
                "this is no robustness; if the softmax saturates, try goal=margin, and if a layer "
                "has no slope, give it a surrogate backward pass (BPDA)."
            )
    return notes


def misleading(rows: pd.DataFrame, late: Collection[str] = ()) -> list[str]:
    """A sentence for each attack whose gradients were there and seem to have led nowhere.

    Random, flipped and shattered gradients show in three ways: an attack that follows them leaves
    nearly everything right, at the largest size at which it was run; or it moves images to where
    the loss is lower; or an attack without gradients breaks what it left.

    Args:
        rows: of one evaluation, with those of the unattacked images.
        late: parts of cascades that follow no gradients, and ran after all that do.
    """
    attacked = rows[(rows["norm"] != "none") & rows["eps"].between(0, np.inf, inclusive="neither")]
    clean = rows[rows["norm"] == "none"].set_index("index")["loss"]
    return [
        *_led_nowhere(attacked, clean),
        *_beaten(attacked, late),
        *_broke_late(attacked, late),
    ]


def _led_nowhere(attacked: pd.DataFrame, clean: "pd.Series[float]") -> Iterator[str]:
    """Of attacks that follow gradients: left nearly everything, or went downhill."""
    seen = attacked[_right(attacked) & (attacked["fooled"] | ~attacked["blind"])]
    for (attack, norm), sizes in seen.groupby(["attack", "norm"], sort=False):
        for eps, part in sizes.groupby("eps", sort=False):
            left = part[~part["fooled"]]
            if not part["backwards"].any() or len(part) < _ENOUGH:
                continue
            moved = left[left[norm] > 0]
            fell = int((moved["loss"] < moved["index"].map(clean)).sum())
            downhill = len(moved) >= _ENOUGH and fell > _DOWNHILL * len(moved)
            # Little falls in a small ball; what is left in the largest is what tells.
            larger = eps < sizes["eps"].max()
            if not downhill and (larger or len(left) < _NEARLY_ALL * len(part)):
                continue
            how = f", and lowered the loss of {fell}" if downhill else ""
            yield (
                f"{attack} {norm} {eps:g}: left {len(left)} of the {len(part)} images that were "
                f"right before{how}: this is robustness only if the gradient leads uphill, and not "
                "if it is random, flipped or shattered; see what a larger size does, and an attack "
                "without gradients (square)."
            )


def _beaten(attacked: pd.DataFrame, late: Collection[str]) -> Iterator[str]:
    """Of attacks that fooled clearly more without gradients than all that follow them together."""
    right = attacked[_right(attacked)]
    for (norm, eps), part in right.groupby(["norm", "eps"], sort=False):
        follows = part.groupby("attack")["backwards"].transform("sum") > 0
        by_gradients = part["fooled"] & ~part["by"].isin(late)
        best = by_gradients[follows].groupby(part["index"]).any()
        for attack, without in part[~follows].groupby("attack", sort=False):
            fooled = without.set_index("index")["fooled"]
            both = fooled.index.intersection(best.index)
            more = int((fooled[both] & ~best[both]).sum())
            fewer = int((best[both] & ~fooled[both]).sum())
            if more > fewer and binom.sf(more - 1, more + fewer, 0.5) < _CHANCE:
                yield (
                    f"{attack} {norm} {eps:g}: without gradients of the model it fooled {more} "
                    "images that every attack with gradients left, and these fooled "
                    f"{fewer} that it left: the gradients mislead (masking), or the attacks that "
                    "follow them are too weak."
                )


def _broke_late(rows: pd.DataFrame, late: Collection[str]) -> Iterator[str]:
    """Of cascades whose last parts, without gradients, broke much of what those before had left."""
    for (attack, norm, eps), part in rows[_right(rows)].groupby(CELL, sort=False):
        broke = part["fooled"] & part["by"].isin(late)
        if len(part) >= _ENOUGH and broke.mean() > 1 - _NEARLY_ALL:
            yield (
                f"{attack} {norm} {eps:g}: {', '.join(part.loc[broke, 'by'].unique())} broke "
                f"{broke.sum()} of {len(part)} images without gradients, after every attack with "
                "gradients had left them: the gradients mislead (masking), or the attacks that "
                "follow them are too weak."
            )


def _right(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Whether an image was right before the attack."""
    right: pd.Series[bool] = rows["clean_prediction"] == rows["label"]
    return right


def skipped(cells: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each attack that could not run, wholly or in part, as its cell says."""
    notes = []
    for cell in cells:
        eps = math.inf if cell["eps"] is None else cell["eps"]  # JSON knows no infinity
        notes += [
            f"{cell['attack']} {cell['norm']} {eps:g}: skipped {', '.join(names)}: {reason}"
            for reason, names in _by_reason(cell.get("skipped", {})).items()
        ]
    return notes


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        found.setdefault(reason, []).append(name)
    return found


def left_out(settings: Mapping[str, Any]) -> list[str]:
    """A sentence if variants that the model calls for were not run, as the run's settings say."""
    names = settings.get("left_out", ())
    if not names:
        return []
    return [
        f"{', '.join(names)}: the model calls for these variants, and they were left out on "
        "request (--variants); what an attack left standing may not stand against them."
    ]


def certified_curve(rows: pd.DataFrame) -> list[tuple[float, float]]:
    """Certified accuracy against radius, as the corners of its steps.

    The accuracy at r is the share of all images that are classified rightly with a certified radius
    of at least r; an abstention counts as an error. The first corner is at radius 0.
    """
    right = rows["prediction"] == rows["label"]
    radii = sorted({0.0, *rows["radius"][right]})
    return [(r, float((right & (rows["radius"] >= r)).mean())) for r in radii]


def accuracy_at(curve: Sequence[Sequence[float]], radius: float) -> float:
    """The value of a curve from `certified_curve` at one radius: that of the next corner."""
    return next((accuracy for corner, accuracy in curve if corner >= radius), 0.0)


def certified(rows: pd.DataFrame, radii: Sequence[float] | Array) -> pd.DataFrame:
    """Certified accuracy at some radii, each with its 95 % Clopper-Pearson interval over images."""
    right = np.sort(rows.loc[rows["prediction"] == rows["label"], "radius"])
    standing = len(right) - np.searchsorted(right, radii)
    low, high = share_interval(standing, len(rows))
    accuracy = standing / len(rows)
    return pd.DataFrame(
        {"eps": radii, "n": len(rows), "robust_accuracy": accuracy, "low": low, "high": high}
    )


def broken_certificates(
    attacked: pd.DataFrame, proven: pd.DataFrame, norm: str = "l2"
) -> tuple[int, int]:
    """How many right certificates an attack contradicts, of how many it put to the test.

    A certificate is tested by every adversarial image within its radius. It is contradicted if the
    noisy vote there prefers another class by more than chance: if both were equally likely, such a
    vote would come once in a thousand times. Both tables must be of one noisy classifier.

    Args:
        attacked: rows of an evaluation of the noisy classifier.
        proven: rows of its certification, on the same test set.
        norm: of the certified radii.
    """
    right = proven.loc[proven["prediction"] == proven["label"], ["index", "radius"]]
    both = attacked[attacked["attack"] != "clean"].merge(right, on="index")
    tested = both[(both[norm] > 0) & (both[norm] <= both["radius"])]
    broken = tested[tested["fooled"] & _beyond_chance(tested)]
    return broken["index"].nunique(), tested["index"].nunique()


def overclaimed(attacked: pd.DataFrame, proven: pd.DataFrame, norm: str = "l2") -> pd.DataFrame:
    """The sizes at which more images are certified than an attack left standing, which cannot be.

    An image counts as fooled if the noisy vote prefers another class by more than chance.

    Args:
        attacked: rows of attacks on the noisy classifier, at finite sizes.
        proven: rows of its certification.
        norm: of the certified radii.

    Returns:
        eps, n, certified, robust_accuracy, over the images of both tables; empty if all is well.
    """
    shown = attacked[(attacked["norm"] == norm) & attacked["index"].isin(proven["index"])]
    shown = met_by_all(shown)
    if not len(shown):
        return pd.DataFrame(columns=["eps", "n", "certified", "robust_accuracy"])
    shown = shown.assign(
        fooled=shown["fooled"] & _beyond_chance(shown), clean_prediction=shown["label"]
    )
    ceiling = worst_case(shown).query("eps > 0").reset_index(drop=True)
    floor = certified(proven[proven["index"].isin(shown["index"])], ceiling["eps"].to_numpy())
    ceiling["certified"] = floor["robust_accuracy"]
    wrong = ceiling[ceiling["certified"] > ceiling["robust_accuracy"]]
    return wrong[["eps", "n", "certified", "robust_accuracy"]].reset_index(drop=True)


def _beyond_chance(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether so many votes for another class come less than once in 1,000 times from a tie."""
    others, label = rows["votes_for_prediction"], rows["votes_for_label"]
    return binom.sf(others - 1, others + label, 0.5) < 1e-3


def _accuracy(standing: "pd.Series[bool]") -> dict[str, Any]:
    """A share of examples with its 95 % interval."""
    low, high = share_interval(int(standing.sum()), len(standing))
    return {"robust_accuracy": float(standing.mean()), "low": float(low), "high": float(high)}
