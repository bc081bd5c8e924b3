"""The ℓ1 bound of Laplace noise."""

import numpy as np

from holdfast.certify.bounds.bound import BOUNDS, bound, log_ratio
from holdfast.statistics import Array

__all__ = ["laplace_radius"]


@BOUNDS.named("laplace")
@bound(noise="laplace")
def laplace_radius(p1: Array, p2: Array, sigma: Array) -> Array:
    """Certified ℓ1 radius of a classifier smoothed by Laplace noise.

        L = max(b/2 · log(p₁/p₂), -b · log(1 - p₁ + p₂)),   b = σ/√2,

    since moving an image by δ changes no event's probability by more than a factor of exp(‖δ‖₁/b).
    At p₂ = 1 - p₁ it is -b log(2 (1 - p₁)), which is tight.

    When:
        For ℓ1, with Laplace noise in the votes and in the training.

    When not:
        For ℓ2; nor with votes under Gaussian noise, of which it proves nothing.

    Traps:
        σ is the standard deviation, b = σ/√2 the scale that papers name: a radius at "0.5" of
        theirs is at 0.707 here. An ℓ1 radius beside an ℓ2 radius is no comparison.

    Args:
        p1: lower limit of the top class's probability under noise, in [0, 1].
        p2: upper limit of every other class's, in [0, 1]; cut to 1 - p1, which always is one.
        sigma: standard deviation σ > 0 of each pixel's noise, on the [0, 1] scale of images.

    Returns:
        The radius, at least 0; 0 where p1 <= p2, infinite at p1 = 1 and at p2 = 0. Float, array or
        tensor as the arguments are.

    Raises:
        InputError: if a probability lies outside [0, 1] or sigma is not positive.

    Reference:
        Teng, Lee and Yuan, "ℓ1 adversarial robustness certificates: a randomized smoothing
        approach", 2020. Differs from the paper in naming the noise by its standard deviation σ,
        not by its scale b, so that families of noise compare at equal σ.

    Example:
        >>> from holdfast.certify import laplace_radius
        >>> round(laplace_radius(0.9, 0.1, 0.25), 4)
        0.2845
    """
    gap = p1 - p2
    # 1 - gap cancels when p1 is close to 1, and its logarithm when p1 is close to p2.
    log = np.where(gap < 0.5, np.log1p(-np.minimum(gap, 0.5)), np.log((1 - p1) + p2))
    return sigma / np.sqrt(2) * np.maximum(log_ratio(p1, p2) / 2, -log)
