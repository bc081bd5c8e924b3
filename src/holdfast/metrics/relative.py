"""Deep Defense's measures of robustness: relative perturbations, and accuracy at a reference size.

ρ is measured on images in [0, 1]. The published ρ₂ divides by the norm of mean-subtracted images,
which is smaller for images that are mostly black, so the two are not to be compared.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Float

from holdfast.errors import InputError
from holdfast.statistics import Array

__all__ = [
    "accuracies_at",
    "mean_length",
    "perturbation_sizes",
    "reference_size",
    "relative_lengths",
    "rho",
]

#: Fractions of ε_ref at which DD table 1 gives accuracies.
FRACTIONS = (0.2, 0.5, 1.0)

#: Fraction of misclassified images that makes a size ε_ref.
_HALF = 0.5


def perturbation_sizes(
    rows: pd.DataFrame, eps_ref: Mapping[tuple[str, str], float] | None = None
) -> pd.DataFrame:
    """One line for each attack: how far it moved the images, and accuracy at fractions of ε_ref.

    ``eps_ref`` is the smallest size at which half of the images are misclassified. Of an attack
    without a limit it is read off the perturbations, and so is the accuracy at every fraction of
    it. Of an attack that was run at some sizes, ε_ref is one of them, and accuracy is known at
    those fractions that were run; its perturbations are those at ε_ref, or at the largest size if
    ε_ref was not run.

    An attack that saw no gradient for any image moved none, which says nothing: it has no line.

    Args:
        rows: of evaluations of one classifier, as `holdfast.evaluate` writes them.
        eps_ref: by attack and norm, where classifiers are compared at that of one of them.

    Returns:
        attack, norm, eps, n, fooled (fraction of the images), mean_l2, mean_linf, rho_2, rho_inf,
        eps_ref, accuracy@0.2, accuracy@0.5, accuracy@1; NaN where a number is not known. Rows of
        earlier versions, without the images' norms, tell no ρ, and nor does an image that is all
        black.

    Example:
        >>> from holdfast import L2, evaluate, metrics
        >>> from holdfast.attacks import DeepFool
        >>> rows = evaluate(model, x, y, {"deepfool": DeepFool(L2(float("inf")))}).rows
        >>> sizes = metrics.perturbation_sizes(rows)
        >>> sizes["fooled"].item(), sizes["accuracy@1"].item() <= 0.5
        (1.0, True)
    """
    lines = []
    attacked = rows[rows["norm"] != "none"]
    for (attack, norm), runs in attacked.groupby(["attack", "norm"], sort=False):
        if (runs["blind"] | runs["fooled"]).all() and runs["blind"].any():
            continue
        unlimited = runs[np.isinf(runs["eps"])]
        error = _error_of(unlimited, norm) if len(unlimited) else _error_at_sizes(runs)
        sizes = _lengths(unlimited, norm) if len(unlimited) else np.unique(runs["eps"])
        own = next((float(size) for size in _halving(sizes, error)), math.nan)
        reference = own if eps_ref is None else eps_ref[attack, norm]
        part = unlimited
        if not len(unlimited):
            part = runs[runs["eps"] == (reference if reference in sizes else sizes[-1])]
        lines.append(
            {
                "attack": attack,
                "norm": norm,
                "eps": float(part["eps"].iloc[0]),
                "n": len(part),
                "fooled": float(part["fooled"].mean()),
                "mean_l2": mean_length(part, 2.0),
                "mean_linf": mean_length(part, math.inf),
                "rho_2": _rho_if_known(part, 2.0),
                "rho_inf": _rho_if_known(part, math.inf),
                "eps_ref": reference,
                **accuracies_at(error, reference),
            }
        )
    return pd.DataFrame(lines)


def _lengths(rows: pd.DataFrame, norm: str) -> Array:
    """The sizes at which an attack without a limit fools one more image, increasing."""
    return np.unique(rows.loc[rows["fooled"], norm])


def _error_of(rows: pd.DataFrame, norm: str) -> Callable[[float], float]:
    """Fraction of images that an attack without a limit fools within a size."""
    needed = np.where(rows["fooled"], rows[norm], np.inf)

    def error(size: float) -> float:
        return math.nan if math.isnan(size) else float((needed <= size * (1 + 1e-6)).mean())

    return error


def _error_at_sizes(rows: pd.DataFrame) -> Callable[[float], float]:
    """Fraction of images that an attack with a limit fools, at the sizes that it was run at."""
    errors = rows.groupby("eps")["fooled"].mean()
    return lambda size: next(
        (float(error) for eps, error in errors.items() if math.isclose(eps, size)), math.nan
    )


def _halving(sizes: Array, error: Callable[[float], float]) -> Iterator[float]:
    """The sizes at which half of the images are misclassified, or more."""
    return (size for size in sizes if error(size) >= _HALF)


def _rho_if_known(rows: pd.DataFrame, p: float) -> float:
    try:
        return rho(rows, p)
    except InputError:
        return math.nan


def relative_lengths(rows: pd.DataFrame, p: float = 2.0) -> Float[np.ndarray, " n"]:
    """‖Δ_k‖_p / ‖x_k‖_p of every row; `rho` is their mean.

    Args:
        rows: of one attack at one size, as `holdfast.evaluate` writes them.
        p: 2 or infinity.

    Raises:
        InputError: if an image that was moved is all black, p is another, or the rows do not hold
            the images' norms.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import relative_lengths
        >>> relative_lengths(pd.DataFrame({"l2": [0.5, 1.0], "x_l2": [5.0, 5.0]}))
        array([0.1, 0.2])
    """
    column = _column(p)
    norms = rows.get(f"x_{column}")
    if norms is None or norms.isna().any():
        raise InputError(
            f"the rows have no x_{column}, the norm of each image, as those of Holdfast 0.1; "
            "evaluate again with another --out."
        )
    size, length = norms.to_numpy(), rows[column].to_numpy()
    if ((size == 0) & (length > 0)).any():
        raise InputError("an image is all black, so nothing can be said relatively to its norm.")
    relative: np.ndarray = length / np.where(size > 0, size, 1)
    return relative


def rho(rows: pd.DataFrame, p: float = 2.0) -> float:
    """ρ = 1/|D| Σ_k ‖Δ_k‖_p / ‖x_k‖_p (DD equation 7; equation 2 of its supplement for p = ∞).

    For ρ₂ the rows are those of DeepFool without a limit; for ρ∞ those of FGS, at the smallest size
    that fools half of the images. An image that is misclassified before the attack has Δ = 0, since
    Holdfast leaves it alone; DD's code moves it over the boundary of the class that is predicted,
    which needs attacks on predictions in place of labels. An image that DeepFool
    did not fool is left alone too, and counts with Δ = 0: ρ is never too large for that.
    Arguments and errors are those of `relative_lengths`.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import rho
        >>> round(rho(pd.DataFrame({"l2": [0.5, 1.0], "x_l2": [5.0, 5.0]})), 3)
        0.15
    """
    return float(relative_lengths(rows, p).mean())


def mean_length(rows: pd.DataFrame, p: float = 2.0) -> float:
    """1/|D| Σ_k ‖Δ_k‖_p, unnormalised (DD supplement, equation 1).

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import mean_length
        >>> mean_length(pd.DataFrame({"l2": [0.5, 1.0]}))
        0.75
    """
    return float(rows[_column(p)].mean())


def reference_size(
    error: Callable[[float], float],
    sizes: Sequence[float] | Array,
    *,
    fraction: float = _HALF,
    tolerance: float = 1e-4,
) -> float:
    """ε_ref: smallest ε at which at least ``fraction`` of the images are misclassified (DD 4.1).

    One step of FGS may fool an image at ε and not at a larger one, so ``error`` need not grow. The
    sizes are tried in turn up to the first that is large enough, and the gap before it is halved
    until it is small: what is found is a size that fools the fraction of images, and the smallest
    as far as the sizes can tell.

    Args:
        error: ε -> fraction of all images that are misclassified at that size.
        sizes: to try, increasing and positive.
        fraction: in (0, 1].
        tolerance: largest gap that is left, positive.

    Raises:
        InputError: if no size is large enough, or a number is out of range.

    Example:
        >>> from holdfast.metrics import reference_size
        >>> size = reference_size(lambda eps: min(eps, 1.0), [0.1, 0.3, 0.6, 1.0])
        >>> round(size, 3)  # where half of the images are misclassified
        0.5
    """
    steps = [float(size) for size in sizes]
    if not (steps and steps[0] > 0 and all(a < b for a, b in pairwise(steps))):
        raise InputError("the sizes to try must be positive and increase.")
    if not (0 < fraction <= 1 and tolerance > 0):
        raise InputError(
            f"fraction is {fraction} and tolerance {tolerance}, but both are positive."
        )
    below = 0.0
    for above in steps:
        if error(above) >= fraction:
            break
        below = above
    else:
        raise InputError(f"less than {fraction:.0%} are misclassified even at {steps[-1]:g}.")
    while above - below > tolerance:
        middle = (below + above) / 2
        below, above = (below, middle) if error(middle) >= fraction else (middle, above)
    return above


def accuracies_at(
    error: Callable[[float], float], eps_ref: float, fractions: Sequence[float] = FRACTIONS
) -> Mapping[str, float]:
    """Acc. @0.2 ε_ref, @0.5 ε_ref and @1.0 ε_ref of a model (DD table 1).

    Args:
        error: ε -> fraction of all images that are misclassified, of any model under FGS.
        eps_ref: `reference_size` of the regularised model that all are compared at.
        fractions: of it.

    Example:
        >>> from holdfast.metrics import accuracies_at
        >>> accuracies_at(lambda eps: min(eps, 1.0), 0.5)
        {'accuracy@0.2': 0.9, 'accuracy@0.5': 0.75, 'accuracy@1': 0.5}
    """
    return {f"accuracy@{fraction:g}": 1 - error(fraction * eps_ref) for fraction in fractions}


def _column(p: float) -> str:
    names = {2.0: "l2", math.inf: "linf"}
    if p not in names:
        raise InputError(f"p is {p}, but these measures are for 2 and infinity.")
    return names[p]
