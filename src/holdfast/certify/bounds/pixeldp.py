"""The bound of PixelDP, the first certificate by noise: differential privacy of its answer."""

import numpy as np

from holdfast.certify.bounds.bound import BOUNDS, bound, log_ratio
from holdfast.certify.search import supremum
from holdfast.statistics import Array

__all__ = ["pixeldp_radius"]

#: Grid of ε as a fraction of the largest that is possible.
_GRID = np.linspace(0, 1, 101)[1:]


@BOUNDS.named("pixeldp")
@bound()
def pixeldp_radius(p1: Array, p2: Array, sigma: Array) -> Array:
    """Certified ℓ2 radius of a classifier smoothed by Gaussian noise, from privacy.

        L = sup σε / sqrt(2 log(1.25/δ))   over 0 < ε <= 1, δ > 0 with
        p₁ >= e^(2ε) p₂ + (1 + e^ε) δ.

    For each ε the largest δ is best, δ = (p₁ - e^(2ε) p₂) / (1 + e^ε); the best ε is found on a
    grid and then by golden section. Cohen et al.'s radius is tight and never smaller.

    When:
        To compare with PixelDP.

    When not:
        For a radius to claim, since `renyi_radius` and `cohen_radius` are larger from the same
        votes.

    Traps:
        The condition's last term has lost its δ in the texts of SO and STN. With ε above 1 it would
        exceed Rényi's radius at extreme probabilities, and is not covered by the Gaussian
        mechanism. PixelDP itself certifies mean scores: beside its numbers take `Hoeffding`.

    Args:
        p1: lower limit of the top class's probability under noise, or of its mean score, in [0, 1].
        p2: upper limit of every other class's, in [0, 1]; cut to 1 - p1, which always is one.
        sigma: standard deviation σ > 0 of the noise, on the [0, 1] scale of images.

    Returns:
        The radius, at least 0; 0 where p1 <= p2. Float, array or tensor as the arguments are.

    Raises:
        InputError: if a probability lies outside [0, 1] or sigma is not positive.

    Reference:
        Lecuyer et al., "Certified robustness to adversarial examples with differential privacy",
        2019, proposition 1 and the Gaussian mechanism. Differs from the texts of STN and of
        "Second-order adversarial attack and certifiable robustness", whose condition has lost the
        δ of its last term.

    Example:
        >>> from holdfast.certify import cohen_radius, pixeldp_radius
        >>> 0 < pixeldp_radius(0.9, 0.1, 0.25) < cohen_radius(0.9, 0.1, 0.25)
        True
    """
    most = log_ratio(p1, p2) / 2  # at this ε there is no δ left
    largest = np.minimum(most, 1)

    def radius(fraction: Array) -> Array:
        eps = fraction * largest
        # p₁ - e^(2ε) p₂ = p₁ (1 - e^(-2 (most - ε))), which does not cancel.
        log_delta = np.log(p1) + np.log(-np.expm1(-2 * (most - eps))) - np.log1p(np.exp(eps))
        return eps / np.sqrt(2 * (np.log(1.25) - log_delta))

    return sigma * supremum(radius, _GRID)
