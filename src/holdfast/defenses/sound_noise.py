"""Gaussian noise in front of a network that sees 8-bit pixels only, drawn without rounding errors.

Cohen et al.'s theorem is about real numbers. In floating point x + ε is rounded, and how depends on
x, so that a network can tell two images apart whatever the noise between them: Voráček and Hein
build classifiers with certificates of 1.26 around images that have an adversarial one at 0.8. What
they propose instead is sound as it is run, and takes nothing but tosses of a fair coin:

1. The base classifier is f(Q(·)): Q rounds to the levels i / 255 of 8-bit images, and clips to
   [-k, k + 1], so that it has finitely many. The theorem holds for it as for any other.
2. Of an image that is on the grid itself, Q(x + ε) is x + Q(ε), clipped: whole numbers.
3. Q(ε) is drawn exactly: 255 Q(ε) is at most i with probability Φ((2i + 1) / (510 σ)).
"""

from collections.abc import Callable
from functools import cache
from typing import ClassVar

import mpmath
import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.defenses.noise import check_sigma
from holdfast.defenses.straight_through import straight_through
from holdfast.errors import InputError
from holdfast.random import layer_stream

__all__ = ["SoundGaussianNoise"]

#: The levels of an 8-bit image are 0 to this.
_LEVELS = 255

#: Coin tosses that are compared at once, and digits of a probability that are known in two parts.
_BITS = 62

#: A pixel is on the grid if it is no further from it, in levels: float32 leaves 1e-5.
_ON_GRID = 1e-3


class SoundGaussianNoise(nn.Module):
    """Q(x + N(0, σ² I)): what `GaussianNoise` gives, rounded to the levels of an 8-bit image.

    In front of a network f it makes the smoothed classifier of f ∘ Q, whose ℓ2 radii by the bounds
    for Gaussian noise hold as they are computed, for all 8-bit images within. Its draws depend on
    the image by nothing but a sum of whole numbers. A pixel that is not on the grid, as an attack
    moves it, has x + ε computed in float64 before it is rounded: the law is the same but for
    float64's errors, and certificates are refused. The gradient is that of x + ε.

    When:
        Where the network is a stranger's, or a certificate is to stand as a proof, of 8-bit images.

    When not:
        For images that are not on the grid of 8 bits, of which certificates are refused; nor where
        speed counts and the network is your own.

    Traps:
        What is certified is f ∘ Q, the network behind the rounding, within other 8-bit images. An
        attack's images leave the grid, where the law is right but for float64's rounding.

    Args:
        sigma: standard deviation σ > 0 on the scale where images lie in [0, 1].

    Raises:
        InputError: if sigma is not a positive number.

    Reference:
        Voráček and Hein, "Sound randomized smoothing in floating-point arithmetic", ICLR 2023.
        Differs from the authors' code in comparing further coin tosses where the first 62 do not
        decide, which it counts as a failed vote; after 124 there is no further digit.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import SoundGaussianNoise
        >>> pixels = (x * 255).round() / 255
        >>> noisy = SoundGaussianNoise(0.25)(pixels)
        >>> bool((noisy == (noisy * 255).round() / 255).all())  # 8-bit levels
        True
    """

    stochastic: ClassVar[bool] = True
    norm: ClassVar[str] = "l2"

    def __init__(self, sigma: float) -> None:
        super().__init__()
        check_sigma(sigma)
        self.sigma = sigma
        self.farthest = max(1, int(6 * sigma))  # k
        self.eval()  # it has no mode, and so is never what is left in training mode

    def forward(self, x: Float[Tensor, "n *image"]) -> Float[Tensor, "n *image"]:
        """Add the noise, and round."""
        stream = layer_stream(len(x))

        def toss(purpose: str) -> Tensor:
            if stream is None:
                return torch.randint(1 << _BITS, x.shape, device=x.device)
            return stream.fold(purpose).bits(x.shape[1:])

        at = x.detach().double() * _LEVELS
        whole = at.round()
        first = toss("first")
        span = _LEVELS * (self.farthest + 1)
        steps = passed(*thresholds(self.sigma, span), first, lambda: toss("further")) - span
        level = whole + steps
        off = (at - whole).abs() > _ON_GRID
        if off.any():
            fraction = (first.double() + 0.5) * 2.0**-_BITS
            real = at + _LEVELS * self.sigma * torch.special.ndtri(fraction)
            level = torch.where(off, real.round(), level)
        level = level.clamp(-_LEVELS * self.farthest, span)
        return straight_through((level / _LEVELS).to(x.dtype), x)

    def extra_repr(self) -> str:
        """Shown within the model's repr."""
        return f"sigma={self.sigma}"


@cache
def thresholds(sigma: float, span: int) -> tuple[Tensor, Tensor]:
    """Digits 1 to 62, and 63 to 124, of Φ((2i + 1) / (510 σ)) for i = -span, ..., span - 1.

    Example:
        >>> from holdfast.defenses.sound_noise import thresholds
        >>> first, further = thresholds(0.5, span=510)
        >>> len(first), bool((first.diff() >= 0).all())
        (1020, True)
    """
    with mpmath.workprec(4 * _BITS):
        scale = mpmath.mpf(2 * _LEVELS) * mpmath.mpf(sigma)
        digits = [
            int(mpmath.floor(mpmath.ldexp(mpmath.ncdf((2 * i + 1) / scale), 2 * _BITS)))
            for i in range(-span, span)
        ]
    low = (1 << _BITS) - 1
    return torch.tensor([d >> _BITS for d in digits]), torch.tensor([d & low for d in digits])


def passed(first: Tensor, further: Tensor, tossed: Tensor, toss: Callable[[], Tensor]) -> Tensor:
    """How many probabilities are at most U, uniform in [0, 1), of which tosses are the digits.

    A digit decides where the ones before it are the same. So U is below a probability exactly if
    its digits are, and more of them are needed only where all of the first are the same, which
    hardly ever happens.

    Args:
        first: (m,) increasing: the first digits of the probabilities.
        further: (m,) those that follow.
        tossed: U's first digits.
        toss: gives as many that follow, for all U.

    Example:
        >>> from holdfast.defenses.sound_noise import passed
        >>> first, further = torch.tensor([1, 2, 2]), torch.tensor([0, 0, 3])  # 1/4, 2/4, 11/16
        >>> passed(first, further, torch.tensor([0, 1, 2, 3]), lambda: torch.tensor([0, 0, 2, 0]))
        tensor([0, 1, 2, 3])
    """
    first, further = first.to(tossed.device), further.to(tossed.device)
    below = torch.searchsorted(first, tossed)
    same = torch.searchsorted(first, tossed, right=True)
    open_ = below < same
    if open_.any():
        more = toss()
        for place in open_.nonzero():
            at = tuple(place)
            tied = further[int(below[at]) : int(same[at])]
            below[at] += int((tied <= more[at]).sum())
    return below


def check_on_grid(x: Tensor) -> None:
    """Raise `InputError` unless all pixels are levels of an 8-bit image, i / 255.

    Example:
        >>> from holdfast.defenses.sound_noise import check_on_grid
        >>> check_on_grid(torch.tensor([0.0, 0.4, 1.0]))
        >>> check_on_grid(torch.tensor([0.001]))
        Traceback (most recent call last):
        holdfast.errors.InputError: a pixel is 0.001, but sound noise is exact for 8-bit images ...
    """
    at = x.double() * _LEVELS
    off = (at - at.round()).abs() > _ON_GRID
    if off.any():
        raise InputError(
            f"a pixel is {float(x[off][0]):.6g}, but sound noise is exact for 8-bit images only, "
            "whose pixels are multiples of 1/255: round them, (x * 255).round() / 255, or give the "
            "noise gaussian."
        )
