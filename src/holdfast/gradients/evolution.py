"""The gradient from scores alone, by random directions."""

import math
from dataclasses import dataclass

from torch import Tensor

from holdfast.errors import InputError
from holdfast.gradients.pairs import rises
from holdfast.random import Stream
from holdfast.types import Gradient, Images, Score, Slope, SlopeAt

__all__ = ["Evolution"]


@dataclass(frozen=True, kw_only=True)
class Evolution(Gradient):
    """The gradient from scores alone, by antithetic Gaussian evolution strategies (NES).

    g = 1/(mσ) Σ_i u_i (L(x + σ u_i) - L(x - σ u_i)) over m/2 draws u_i ~ N(0, I): unbiased for the
    gradient of E L(x + σ u), u ~ N(0, I), in true scale. It needs no backward pass, so that
    gradient attacks reach through layers which have no gradient. It costs ``samples`` forward
    passes and one at ``x``, for the value there. Both images of a pair meet the same draw of the
    model's own randomness.

    Attributes:
        samples: number m of images around x that are asked, even and at least 2.
        sigma: standard deviation σ > 0 of the search, on the [0, 1] scale.
        memory: bytes that the images of one batch may take; by default 4 MiB on a CPU and 256 MiB
            elsewhere.

    Reference:
        Ilyas et al., "Black-box adversarial attacks with limited queries and information", ICML
        2018, algorithm 1; Salimans et al., "Evolution strategies as a scalable alternative to
        reinforcement learning", 2017.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.gradients import Evolution
        >>> attack = PGD(Linf(0.3), steps=5, gradient=Evolution(samples=20, sigma=0.01))
        >>> attack(model, x, y, seed=0).shape  # from scores alone
        torch.Size([4, 1, 8, 8])
    """

    samples: int
    sigma: float
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.samples < 2 or self.samples % 2:
            raise InputError(f"samples is {self.samples}, but images in pairs are an even number.")
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise InputError(f"sigma is {self.sigma}, but a search needs a positive sigma.")

    def __call__(self, score: Score) -> SlopeAt:
        """Bind to a score."""

        def draws(x: Tensor, copies: Stream, start: int, stop: int) -> Images:
            del start, stop  # the copies know which they are
            return copies.fold("noise").normal(x.shape[1:], x.dtype)

        def slope(x: Tensor, rng: Stream, progress: float = 1.0) -> Slope:
            del progress
            value, total, reached = rises(
                score, x, rng, self.samples // 2, self.sigma, draws, self.memory
            )
            return Slope(value, total / (self.samples * self.sigma), reached)

        return slope
