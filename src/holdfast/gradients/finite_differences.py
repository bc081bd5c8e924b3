"""The gradient from scores alone, pixel by pixel."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import InputError
from holdfast.gradients.pairs import rises
from holdfast.random import Stream
from holdfast.types import Gradient, Images, Score, Slope, SlopeAt

__all__ = ["FiniteDifferences"]


@dataclass(frozen=True, kw_only=True)
class FiniteDifferences(Gradient):
    """The gradient from scores alone, pixel by pixel, by central differences.

    g_i = (L(x + h e_i) - L(x - h e_i)) / 2h, with an error of order h². Where the answers are full
    confidences, an adversary who cannot differentiate the model knows its gradient by this, for
    2·C·H·W forward passes and one at ``x``; `Evolution` knows it less well, from fewer. Both images
    of a pair meet the same draw of the model's own randomness.

    Attributes:
        h: half the distance of a pair, above 0, on the [0, 1] scale.
        memory: see `Evolution`.

    Raises:
        InputError: if h is not positive.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, section 5 and appendix A; Chen et
        al., "ZOO: zeroth order optimization based black-box attacks to deep neural networks without
        training substitute models", AISec 2017, equation 6.

    Example:
        >>> from holdfast.goals import cross_entropy
        >>> from holdfast.gradients import FiniteDifferences, autograd
        >>> from holdfast.random import Stream
        >>> score, rng = cross_entropy(model, x, y), Stream.of(0, torch.arange(4))
        >>> exact, found = (kind(score)(x, rng).grad for kind in (autograd, FiniteDifferences()))
        >>> bool((found - exact).abs().max() < 1e-3)
        True
    """

    h: float = 0.01
    memory: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.h) and self.h > 0):
            raise InputError(f"h is {self.h}, but two images of a pair lie at a positive distance.")

    def __call__(self, score: Score) -> SlopeAt:
        """Bind to a score."""

        def axes(x: Tensor, copies: Stream, start: int, stop: int) -> Images:
            del copies
            one = torch.zeros(stop - start, x[0].numel(), dtype=x.dtype, device=x.device)
            one[torch.arange(stop - start), torch.arange(start, stop)] = 1
            return one.repeat_interleave(len(x), dim=0).unflatten(1, x.shape[1:])

        def slope(x: Tensor, rng: Stream, progress: float = 1.0) -> Slope:
            del progress
            value, total, reached = rises(
                score, x, rng, math.prod(x.shape[1:]), self.h, axes, self.memory
            )
            return Slope(value, total / (2 * self.h), reached)

        return slope
