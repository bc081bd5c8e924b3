"""What in the rows of attacks tells of masked gradients, in sentences."""

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd
import scipy

from holdfast.metrics.accuracy import CELL
from holdfast.metrics.notes import title

__all__ = ["blind_attacks", "misleading"]

#: What makes an attack's gradients suspect (`misleading`).
_ENOUGH = 10  # images, below which nothing is said
_NEARLY_ALL = 0.95  # fraction of the right images that a suspect attack leaves right at the least
_DOWNHILL = 0.25  # fraction of the moved ones whose loss fell beyond which an ascent goes astray
_CHANCE = 0.01  # of one attack beating another so clearly if both were equally strong


def blind_attacks(rows: pd.DataFrame) -> list[str]:
    """A sentence for each attack that looked for a gradient and saw none, and so could not move.

    Images that such an attack leaves robust say nothing about robustness.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import PGD
        >>> rows = evaluate(model, x, y, [PGD(Linf(0.1), steps=2)]).rows
        >>> metrics.blind_attacks(rows)  # gradients were there
        []
    """
    notes = []
    for (attack, norm, eps), part in rows.groupby(CELL, sort=False):
        blind = part["blind"] & ~part["fooled"]
        if blind.any():
            notes.append(
                f"{title(attack, norm, eps)}: for {blind.sum()} of {len(part)} images the gradient "
                "was exactly 0, not finite or cut off at every step, so the attack could not move: "
                "this is no robustness; if the softmax saturates, try goal=margin, and if a layer "
                "has no slope, give it a surrogate backward pass (BPDA)."
            )
    return notes


def misleading(rows: pd.DataFrame, late: Collection[str] = ()) -> list[str]:
    """A sentence for each attack whose gradients were there and seem to have led nowhere.

    Random, flipped and shattered gradients show in three ways: an attack that follows them leaves
    nearly everything right, at the largest size at which it was run; or it moves images to where
    the loss is lower; or an attack without gradients breaks what it left. In ℓ0 the last says
    nothing: which components to change together no slope tells, and random search is as strong.

    Args:
        rows: of one evaluation, with those of the unattacked images.
        late: parts of cascades that follow no gradients, and ran after all that do.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import PGD
        >>> rows = evaluate(model, x, y, [PGD(Linf(0.3), steps=5)]).rows
        >>> metrics.misleading(rows)  # and led somewhere
        []
    """
    attacked = rows[(rows["norm"] != "none") & rows["eps"].between(0, np.inf, inclusive="neither")]
    clean = rows[rows["norm"] == "none"].set_index("index")["loss"]
    told = attacked[attacked["norm"] != "l0"]
    return [*_led_nowhere(attacked, clean), *_beaten(told, late), *_broke_late(told, late)]


def _led_nowhere(attacked: pd.DataFrame, clean: "pd.Series[float]") -> Iterator[str]:
    """Of attacks that follow gradients: left nearly everything, or went downhill."""
    seen = attacked[_right(attacked) & (attacked["fooled"] | ~attacked["blind"])]
    for (attack, norm), sizes in seen.groupby(["attack", "norm"], sort=False):
        for eps, part in sizes.groupby("eps", sort=False):
            left = part[~part["fooled"]]
            if not part["backwards"].any() or len(part) < _ENOUGH:
                continue
            fell = downhill(left, clean)
            # Little falls in a small ball; what is left in the largest is what tells.
            larger = eps < sizes["eps"].max()
            if not fell and (larger or len(left) < _NEARLY_ALL * len(part)):
                continue
            how = f", and lowered the loss of {fell}" if fell else ""
            yield (
                f"{title(attack, norm, eps)}: left {len(left)} of the {len(part)} images that were "
                f"right before{how}: this is robustness only if the gradient leads uphill, and not "
                "if it is random, flipped or shattered; see what a larger size does, and an attack "
                "without gradients (square)."
            )


def downhill(left: pd.DataFrame, clean: "pd.Series[float]") -> int:
    """Of how many images an attack lowered the loss, if of so many that it went astray; else 0.

    Args:
        left: rows of the images that it left, in one norm.
        clean: loss of the unattacked images, by index.
    """
    if not len(left):
        return 0
    moved = left[left[left["norm"].iloc[0]] > 0]
    fell = int((moved["loss"] < moved["index"].map(clean)).sum())
    return fell if len(moved) >= _ENOUGH and fell > _DOWNHILL * len(moved) else 0


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
            if more > fewer and scipy.stats.binom.sf(more - 1, more + fewer, 0.5) < _CHANCE:
                yield (
                    f"{title(attack, norm, eps)}: without gradients of the model it fooled {more} "
                    "images that every attack with gradients left, and these fooled "
                    f"{fewer} that it left: the gradients mislead (masking), or the attacks that "
                    "follow them are too weak."
                )


def _broke_late(rows: pd.DataFrame, late: Collection[str]) -> Iterator[str]:
    """Of cascades whose last parts, without gradients, broke much of what those before had left."""
    for (attack, norm, eps), part in rows[_right(rows)].groupby(CELL, sort=False):
        if not part["backwards"].any():  # the parts before were skipped, and had no gradient
            continue
        # An attack that runs alone met every image, whatever the part of its name met elsewhere.
        broke = part["fooled"] & part["by"].isin(late) & (part["by"] != attack)
        if len(part) >= _ENOUGH and broke.mean() > 1 - _NEARLY_ALL:
            yield (
                f"{title(attack, norm, eps)}: {', '.join(part.loc[broke, 'by'].unique())} broke "
                f"{broke.sum()} of {len(part)} images without gradients, after every attack with "
                "gradients had left them: the gradients mislead (masking), or the attacks that "
                "follow them are too weak."
            )


def _right(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Whether an image was right before the attack."""
    right: pd.Series[bool] = rows["clean_prediction"] == rows["label"]
    return right
