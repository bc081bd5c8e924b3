"""Cohen, Rosenfeld and Kolter's bound: the largest radius that two probabilities can prove."""

import numpy as np
from scipy.special import ndtri

from holdfast.certify.bounds.bound import BOUNDS, bound
from holdfast.statistics import Array

__all__ = ["cohen_radius"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)


@BOUNDS.named("cohen")
@bound()
def cohen_radius(p1: Array, p2: Array, sigma: Array) -> Array:
    """Certified ℓ2 radius of a classifier smoothed by Gaussian noise; no bound beats it.

        L = σ/2 · (Φ⁻¹(p₁) - Φ⁻¹(p₂)).

    It is tight: for every p₁ > p₂ with p₁ + p₂ <= 1 there is a classifier with these probabilities
    whose smoothed answer changes just beyond L.

    When:
        Always, for Gaussian noise: it is tight, and no other bound here exceeds it.

    When not:
        For ℓ1, or noise of another law.

    Traps:
        Its p1 and p2 must be limits that hold together, not fractions of votes. "Tight" is about
        two probabilities: of a given network the true radius may be larger. In floating point noise
        is rounded, which the theorem does not know: `SoundGaussianNoise`.

    Args:
        p1: lower limit of the top class's probability under noise, in [0, 1].
        p2: upper limit of every other class's, in [0, 1]; cut to 1 - p1, which always is one.
        sigma: standard deviation σ > 0 of the noise, on the [0, 1] scale of images.

    Returns:
        The radius, at least 0; 0 where p1 <= p2, infinite at p1 = 1 and at p2 = 0. Float, array or
        tensor as the arguments are.

    Raises:
        InputError: if a probability lies outside [0, 1] or sigma is not positive.

    Reference:
        Cohen et al., "Certified adversarial robustness via randomized smoothing", 2019, theorems 1
        and 2.

    Example:
        >>> from holdfast.certify import cohen_radius
        >>> round(cohen_radius(0.9, 0.1, 0.25), 4)
        0.3204
        >>> cohen_radius(torch.tensor([0.9, 0.5]), torch.tensor([0.1, 0.5]), 0.25).shape
        torch.Size([2])
    """
    # Where the limits are close their quantiles cancel, and the integral between them does not.
    # p2 is the smaller tail of the two, since `bound` cuts it to 1 - p1.
    close = p1 - p2 < 0.01 * p2
    difference = ndtri(p1) - ndtri(p2)
    difference[close] = _between(p1[close], p2[close])
    return sigma / 2 * difference


def _between(p1: Array, p2: Array) -> Array:
    """Φ⁻¹(p₁) - Φ⁻¹(p₂) = ∫ dp / φ(Φ⁻¹(p)) from p₂ to p₁, by Gauss and Legendre's five points."""
    p = p2 + (p1 - p2) * (1 + _NODES[:, None]) / 2
    inverse_density = np.exp(ndtri(p) ** 2 / 2 + np.log(2 * np.pi) / 2 + np.log(p1 - p2))
    return _WEIGHTS @ inverse_density / 2
