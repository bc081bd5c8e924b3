"""Jia et al.'s bound: the radius within which a label stays among the k most probable classes."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

from holdfast.certify.bounds.cohen import cohen_radius
from holdfast.errors import InputError
from holdfast.statistics import Array

__all__ = ["top_radius"]

#: Beyond what float64 loses of quantiles up to 40 and of their bisection.
_LOST = 1e-12


def top_radius(
    p1: Float[NDArray[np.float64], " n"], others: Float[NDArray[np.float64], "n k"], sigma: float
) -> Float[NDArray[np.float64], " n"]:
    """Certified ℓ2 radius of "the label is among the k most probable classes under noise".

        R = max over t = 1 ... k of R_t,  Φ(Φ⁻¹(p₁) - R_t/σ) = Φ(Φ⁻¹(s_t) + R_t/σ) / t,
        s_t the sum of the t smallest of the k upper limits.

    Within R fewer than k other classes are as probable as the label. Proof: were B, of k classes,
    as probable at x + δ, |δ| = r, then so would be the mean over any t of them. Take the t of B
    whose limits are smallest: at x they have at most s_t together, since any k classes have limits
    that are no larger, one by one, than the k largest. By Neyman and Pearson's lemma their
    probability at x + δ is at most Φ(Φ⁻¹(s_t) + r/σ), and the label's at least Φ(Φ⁻¹(p₁) - r/σ),
    which is more than a t-th of it if r < R_t.

    The k limits sum to at most 1 - p₁: where theirs do not, the largest are cut to one level at
    which they do (`levelled`); of all numbers below the limits and of that sum these have the
    largest s_t. For k = 1 it is `cohen_radius`, and so it is for t = 1.

    Args:
        p1: (N,) lower limit of the label's probability under noise, in [0, 1].
        others: (N, k) upper limits of the k largest probabilities among the other classes, in
            [0, 1], in any order; k at least 1.
        sigma: standard deviation σ > 0 of the noise, on the [0, 1] scale of images.

    Returns:
        (N,) the radius, at least 0; 0 where p₁ is at most the smallest limit, infinite at p₁ = 1
        and where that limit is 0.

    Raises:
        InputError: if shapes do not match, a probability lies outside [0, 1] or sigma is not
            positive.

    Reference:
        Jia, Cao, Wang and Gong, "Certified robustness for top-k predictions against adversarial
        perturbations via randomized smoothing", ICLR 2020, theorem 1. It differs in the level: they
        cut each sum s_t to 1 - p₁ instead, which is never smaller.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import top_radius
        >>> p1, others = np.array([0.6, 0.3]), np.array([[0.2, 0.1], [0.6, 0.1]])
        >>> top_radius(p1, others, 0.25).round(4)  # for the first class alone 0.1369, and 0
        array([0.1944, 0.0946])
    """
    p1, others = np.asarray(p1, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if others.ndim != 2 or p1.shape != others.shape[:1] or not others.shape[1]:
        raise InputError(
            f"p1 has shape {p1.shape} and others {others.shape}, but must have (N,) and (N, k): k "
            "limits of other classes for each image."
        )
    if not ((others >= 0) & (others <= 1)).all():
        raise InputError("p1 and others must be probabilities, between 0 and 1.")
    limits = levelled(p1, others)
    best = cohen_radius(p1, limits[:, 0], np.float64(sigma))  # t = 1; which checks the ranges
    sums = np.minimum(limits.cumsum(axis=1), (1 - p1)[:, None])
    for t in range(2, limits.shape[1] + 1):
        found = np.isfinite(best) & (p1 > sums[:, t - 1] / t)
        best[found] = np.maximum(best[found], sigma * _shared(p1[found], sums[found, t - 1], t))
    return np.asarray(best)


def levelled(p1: Array, others: Array) -> Array:
    """(N, k) the limits from the smallest on, the largest cut to a level.

    They sum to 1 - p₁ at most. The smallest is an upper limit of the k-th probability among the
    other classes.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify.bounds.top import levelled
        >>> levelled(np.array([0.5, 0.5]), np.array([[0.4, 0.1, 0.3], [0.2, 0.1, 0.1]])).round(3)
        array([[0.1, 0.2, 0.2],
               [0.1, 0.1, 0.2]])
    """
    upward = np.sort(others, axis=1)
    k = upward.shape[1]
    # The level at which limits from the j-th on share what those before it leave.
    left = np.maximum((1 - p1)[:, None] - (upward.cumsum(axis=1) - upward), 0)
    level = left / np.arange(k, 0, -1)
    cut = level <= upward
    first = np.take_along_axis(level, cut.argmax(axis=1)[:, None], axis=1)
    return np.where(cut.any(axis=1, keepdims=True), np.minimum(upward, first), upward)


def _shared(p1: Array, total: Array, t: int) -> Array:
    """R_t / σ = (a - b)/2 + s with Φ(m + s) = t Φ(m - s), by bisection.

    Here a = Φ⁻¹(p₁), b = Φ⁻¹(s_t) and m is their mean. Since b <= -a, m <= 0. There φ/Φ is at least
    φ(0)/Φ(0) = √(2/π), so log Φ(m + s) - log Φ(m - s) rises at least so fast, and s lies between 0
    and log(t) √(π/2). The lower end is returned.
    """
    a, b = ndtri(p1), ndtri(total)
    m = np.minimum((a + b) / 2, 0)
    low, high = np.zeros(len(m)), np.full(len(m), np.log(t) * np.sqrt(np.pi / 2))
    for _ in range(60):
        s = (low + high) / 2
        holds = log_ndtr(m + s) - log_ndtr(m - s) <= np.log(t)
        low, high = np.where(holds, s, low), np.where(holds, high, s)
    return np.asarray(np.maximum((a - b) / 2 + low - _LOST * (1 + np.abs(a) + np.abs(b)), 0))
