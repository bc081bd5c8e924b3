"""The Rényi bound of SO and STN: how far an image may move before its smoothed class can."""

import numpy as np

from holdfast.certify.bounds.bound import BOUNDS, bound, log_ratio
from holdfast.certify.search import supremum
from holdfast.statistics import Array

__all__ = ["renyi_radius"]

#: Grid of log(α - 1); the optimum lies inside for every p₁ > p₂ > 0 that float64 can tell apart.
_GRID = np.linspace(-30, 14, 177)


@BOUNDS.named("renyi")
@bound()
def renyi_radius(p1: Array, p2: Array, sigma: Array) -> Array:
    """Certified ℓ2 radius of a classifier smoothed by Gaussian noise, from Rényi divergence.

        L² = sup_{α > 1} -(2σ²/α) · log(1 - p₁ - p₂ + 2 M(α)),
        M(α) = ((p₁^(1-α) + p₂^(1-α)) / 2)^(1 / (1-α)).

    Every α gives a sound radius; the best is found over log(α - 1), on a grid and then by golden
    section, in float64 and in log space, so that p₂ → 0 does not overflow. At p₂ = 0 the supremum
    is the limit α → 1: L = sqrt(-2σ² log(1 - p₁)). Cohen et al.'s radius is tight and never
    smaller.

    When:
        To compare with SO and STN.

    When not:
        For a radius to claim, since `cohen_radius` is larger from the same votes.

    Traps:
        The formula is symmetric in p1 and p2, so without the test p1 > p2, which the authors' code
        lacks, it certifies a losing class; here the radius is then 0. SO's algorithm 1 prints a
        minus sign in place of the product.

    Args:
        p1: lower limit of the top class's probability under noise, in [0, 1].
        p2: upper limit of every other class's, in [0, 1]; cut to 1 - p1, which always is one.
        sigma: standard deviation σ > 0 of the noise, on the [0, 1] scale of images.

    Returns:
        The radius, at least 0; 0 where p1 <= p2. Float, array or tensor as the arguments are.

    Raises:
        InputError: if a probability lies outside [0, 1] or sigma is not positive.

    Reference:
        Li et al., "Certified adversarial robustness with additive Gaussian noise", 2019,
        algorithm 1 and theorem 2. Algorithm 1 of the older "Second-order adversarial attack and
        certifiable robustness" prints a minus sign in place of the product; its theorem 2 is right.

    Example:
        >>> from holdfast.certify import cohen_radius, renyi_radius
        >>> 0 < renyi_radius(0.9, 0.1, 0.25) < cohen_radius(0.9, 0.1, 0.25)
        True
    """
    squared = -2 * np.log1p(-p1)
    some = p2 > 0
    p1, p2 = p1[some], p2[some]
    squared[some] = supremum(lambda t: _squared(p1, p2, t), _GRID).clip(min=0)
    return sigma * np.sqrt(squared)


def _squared(p1: Array, p2: Array, t: Array) -> Array:
    """-(2/α) · log(1 - p₁ - p₂ + 2 M(α)) at α = 1 + e^t.

    With h = log(p₁/p₂) / 2 the mean is M = sqrt(p₁p₂) · exp(-log cosh(s h) / s), s = α - 1, which
    neither overflows for small p₂ nor cancels for small s, and
    p₁ + p₂ - 2M = 2 sqrt(p₁p₂) · (2 sinh²(h/2) + 1 - exp(-log cosh(s h) / s)).
    """
    s = np.exp(t)
    middle = (np.log(p1) + np.log(p2)) / 2
    h = log_ratio(p1, p2) / 2
    exponent = -_log_cosh(s * h) / s
    missing = 2 * np.exp(middle) * (2 * np.sinh(h / 2) ** 2 - np.expm1(exponent))
    rest = (1 - p1 - p2).clip(min=0) + 2 * np.exp(middle + exponent)
    # 1 - missing cancels when p1 is close to 1, and rest when p1 is close to p2.
    log = np.where(missing < 0.5, np.log1p(-np.minimum(missing, 0.5)), np.log(rest))
    return -2 / (1 + s) * log


def _log_cosh(z: Array) -> Array:
    """Log cosh z, accurate for small and large z >= 0."""
    small = np.log1p(2 * np.sinh(np.minimum(z, 1) / 2) ** 2)
    return np.where(z < 1, small, z + np.log1p(np.exp(-2 * z)) - np.log(2))
