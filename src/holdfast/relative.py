"""Deep Defense's measures of robustness: relative perturbations, and FGS at a reference size.

ρ is measured on images in [0, 1]. The published ρ₂ divides by the norm of mean-subtracted images,
which is smaller for images that are mostly black, so the two are not to be compared.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from holdfast.errors import InputError
from holdfast.statistics import Array
from holdfast.tensors import norm

#: Shares of ε_ref at which DD table 1 gives accuracies.
SHARES = (0.2, 0.5, 1.0)


def image_norms(x: Float[Tensor, "n *image"]) -> pd.DataFrame:
    """‖x‖₂ and ‖x‖∞ of clean images, in float64, as `rho` divides by them: columns l2 and linf."""
    wide = x.detach().cpu().double()
    return pd.DataFrame({"l2": norm(wide, 2).numpy(), "linf": norm(wide, math.inf).numpy()})


def relative_lengths(
    rows: pd.DataFrame, norms: pd.DataFrame, p: float = 2.0
) -> Float[np.ndarray, " n"]:
    """‖Δ_k‖_p / ‖x_k‖_p of every row; `rho` is their mean.

    Args:
        rows: of one attack at one size, as `holdfast.evaluate` writes them.
        norms: from `image_norms`, of all images of the data, in their order.
        p: 2 or infinity.

    Raises:
        InputError: if an image that was moved is all black, or p is another.
    """
    column = _column(p)
    size = norms[column].to_numpy()[rows["index"].to_numpy()]
    length = rows[column].to_numpy()
    if ((size == 0) & (length > 0)).any():
        raise InputError("an image is all black, so nothing can be said relatively to its norm.")
    relative: np.ndarray = length / np.where(size > 0, size, 1)
    return relative


def rho(rows: pd.DataFrame, norms: pd.DataFrame, p: float = 2.0) -> float:
    """ρ = 1/|D| Σ_k ‖Δ_k‖_p / ‖x_k‖_p (DD equation 7; equation 2 of its supplement for p = ∞).

    For ρ₂ the rows are those of DeepFool without a limit; for ρ∞ those of FGS, at the smallest size
    that fools half of the images. An image that is misclassified before the attack has Δ = 0, since
    Holdfast leaves it alone; DD's code moves it over the boundary of the class that is predicted,
    which needs attacks on predictions in place of labels. An image that DeepFool
    did not fool is left alone too, and counts with Δ = 0: ρ is never too large for that.
    Arguments and errors are those of `relative_lengths`.
    """
    return float(relative_lengths(rows, norms, p).mean())


def mean_length(rows: pd.DataFrame, p: float = 2.0) -> float:
    """1/|D| Σ_k ‖Δ_k‖_p, unnormalised (DD supplement, equation 1)."""
    return float(rows[_column(p)].mean())


def reference_size(
    error: Callable[[float], float],
    sizes: Sequence[float] | Array,
    *,
    share: float = 0.5,
    tolerance: float = 1e-4,
) -> float:
    """ε_ref: the smallest ε at which at least ``share`` of the images are misclassified (DD 4.1).

    One step of FGS may fool an image at ε and not at a larger one, so ``error`` need not grow. The
    sizes are tried in turn up to the first that is large enough, and the gap before it is halved
    until it is small: what is found is a size that fools the share of images, and the smallest as
    far as the sizes can tell.

    Args:
        error: ε -> share of all images that are misclassified at that size.
        sizes: to try, increasing and positive.
        share: in (0, 1].
        tolerance: largest gap that is left, positive.

    Raises:
        InputError: if no size is large enough, or a number is out of range.
    """
    steps = [float(size) for size in sizes]
    if not (steps and steps[0] > 0 and all(a < b for a, b in pairwise(steps))):
        raise InputError("the sizes to try must be positive and increase.")
    if not (0 < share <= 1 and tolerance > 0):
        raise InputError(f"share is {share} and tolerance {tolerance}, but both are positive.")
    below = 0.0
    for above in steps:
        if error(above) >= share:
            break
        below = above
    else:
        raise InputError(f"less than {share:.0%} are misclassified even at {steps[-1]:g}.")
    while above - below > tolerance:
        middle = (below + above) / 2
        below, above = (below, middle) if error(middle) >= share else (middle, above)
    return above


def accuracies_at(
    error: Callable[[float], float], eps_ref: float, shares: Sequence[float] = SHARES
) -> Mapping[str, float]:
    """Acc. @0.2 ε_ref, @0.5 ε_ref and @1.0 ε_ref of a model (DD table 1).

    Args:
        error: ε -> share of all images that are misclassified, of any model under FGS.
        eps_ref: `reference_size` of the regularised model that all are compared at.
        shares: of it.
    """
    return {f"accuracy@{share:g}": 1 - error(share * eps_ref) for share in shares}


def _column(p: float) -> str:
    names = {2.0: "l2", math.inf: "linf"}
    if p not in names:
        raise InputError(f"p is {p}, but these measures are for 2 and infinity.")
    return names[p]
