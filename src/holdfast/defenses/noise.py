"""Noise on the image at inference, the randomness of Algorithm 1 (SO section 4, STN 4)."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.errors import InputError
from holdfast.parameters import check
from holdfast.random import layer_noise, layer_uniform

__all__ = ["GaussianNoise", "LaplaceNoise"]


class GaussianNoise(nn.Module):
    """x + N(0, σ² I), fresh at every forward pass, in training and in evaluation mode.

    In front of a network f it makes the smoothed classifier that Algorithm 1 certifies:
    ``nn.Sequential(GaussianNoise(sigma), f)``. The noise is not clipped to [0, 1], since the
    certificate is a statement about the unclipped sum.

    When:
        For ℓ2 certificates, around a network that was trained with noise of the same σ.

    When not:
        Around one that was not, where it costs accuracy and proves little.

    Traps:
        One answer is a draw: attack through averages and count votes, or luck passes for robustness
        on either side. The noise is not clipped to [0, 1], and a clip in front of the network
        belongs to the network. What is certified is the vote.

    Args:
        sigma: standard deviation σ > 0 on the scale where images lie in [0, 1].

    Raises:
        InputError: if sigma is not a positive number.

    Reference:
        Li et al., "Certified adversarial robustness with additive Gaussian noise", 2019,
        Algorithm 1.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import GaussianNoise
        >>> noisy = nn.Sequential(GaussianNoise(0.25), model)
        >>> bool((noisy(x) == noisy(x)).all())  # fresh noise
        False
    """

    #: Read by the evaluator: attacks average over the noise, predictions are votes.
    stochastic: ClassVar[bool] = True

    #: The norm in which it certifies.
    norm: ClassVar[str] = "l2"

    def __init__(self, sigma: float) -> None:
        super().__init__()
        check_sigma(sigma)
        self.sigma = sigma
        self.eval()  # it has no mode, and so is never what is left in training mode

    def forward(self, x: Float[Tensor, "n *image"]) -> Float[Tensor, "n *image"]:
        """Add the noise."""
        return x + self.sigma * layer_noise(x)

    def extra_repr(self) -> str:
        """Shown within the model's repr."""
        return f"sigma={self.sigma}"


class LaplaceNoise(nn.Module):
    """x + Laplace noise of standard deviation σ in each pixel, of scale b = σ/√2, not clipped.

    What Gaussian noise is to ℓ2, this is to ℓ1.

    When:
        For ℓ1 certificates, around a network that was trained with it.

    When not:
        In ℓ2: `GaussianNoise`.

    Traps:
        σ is the standard deviation and not the scale b. Bounds for Gaussian noise are refused on
        its votes, and would be wrong.

    Args:
        sigma: standard deviation σ > 0 on the scale where images lie in [0, 1].

    Raises:
        InputError: if sigma is not a positive number.

    Reference:
        Teng, Lee and Yuan, "ℓ1 adversarial robustness certificates: a randomized smoothing
        approach", 2020.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import LaplaceNoise
        >>> noisy = nn.Sequential(LaplaceNoise(0.25), model)
        >>> bool((noisy(x) == noisy(x)).all())  # fresh noise
        False
    """

    stochastic: ClassVar[bool] = True
    norm: ClassVar[str] = "l1"

    def __init__(self, sigma: float) -> None:
        super().__init__()
        check_sigma(sigma)
        self.sigma = sigma
        self.eval()

    def forward(self, x: Float[Tensor, "n *image"]) -> Float[Tensor, "n *image"]:
        """Add the noise."""
        uniform = layer_uniform(x.to(torch.promote_types(x.dtype, torch.float32)))
        # The draws are multiples of 2^-24; the middle of each step keeps the logarithm finite and
        # the law symmetric.
        centred = (uniform - 0.5) + 2.0**-25
        magnitude = -torch.log1p(-2 * centred.abs())
        return x + (self.sigma / math.sqrt(2) * centred.sign() * magnitude).to(x.dtype)

    def extra_repr(self) -> str:
        """Shown within the model's repr."""
        return f"sigma={self.sigma}"


def check_sigma(sigma: float) -> None:
    """Raise if sigma is not a positive number, or one that no record could hold.

    Raises:
        InputTypeError: if it is no number.
        InputError: if it is not finite and above 0, or see `holdfast.parameters.check`.

    Example:
        >>> from holdfast.defenses.noise import check_sigma
        >>> check_sigma(-1.0)
        Traceback (most recent call last):
        holdfast.errors.InputError: sigma is -1.0, but the noise needs a positive sigma.
    """
    check("sigma", sigma, float)
    if not (math.isfinite(sigma) and sigma > 0):
        raise InputError(f"sigma is {sigma}, but the noise needs a positive sigma.")
