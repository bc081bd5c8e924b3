"""The gradient at one point nearby."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import InputError
from holdfast.gradients.exact import autograd
from holdfast.random import Stream, drawing_from
from holdfast.tensors import unit
from holdfast.types import Gradient, Score, Slope, SlopeAt

__all__ = ["UnitDraw"]


@dataclass(frozen=True, kw_only=True)
class UnitDraw(Gradient):
    """The gradient at one point nearby, a random unit vector away (SO equation 3).

    g = ∇L(x + ξ d), d uniform on the unit sphere. Where the gradient at x vanishes, g ≈ ξ H d: one
    step of power iteration towards the leading eigenvector of the Hessian H (SO appendix A). The
    mean over many draws loses just that, since E[H d] = 0: `Average` is another estimator, not a
    better one.

    Its value is that at x + ξ d; whether the aim is reached is asked of x itself.

    Attributes:
        xi: ξ > 0, the ℓ2 distance of the point.
        gradient: how to estimate the gradient there; on a random model it is an `Average`, of draws
            that all share d.

    Raises:
        InputError: if xi is not positive.

    Reference:
        Li et al., "Second-order adversarial attack and certifiable robustness", 2019, equation 3
        and appendix A; Miyato et al., "Virtual adversarial training", 2017.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import PGD
        >>> from holdfast.gradients import UnitDraw
        >>> attack = PGD(L2(1.0), steps=5, gradient=UnitDraw(xi=0.1))
        >>> bool((L2(1.0).distance(attack(model, x, y, seed=0), x) <= 1).all())
        True
    """

    xi: float
    gradient: Gradient = autograd

    def __post_init__(self) -> None:
        if not 0 < self.xi < math.inf:
            raise InputError(f"xi is {self.xi}, but a point nearby lies at a positive distance.")

    def __call__(self, score: Score) -> SlopeAt:
        """Bind to a score."""
        there = self.gradient(score)

        def slope(x: Tensor, rng: Stream, progress: float = 1.0) -> Slope:
            draw = unit(rng.fold("unit").normal(x.shape[1:], x.dtype), 2)
            value, grad, _ = there(x + self.xi * draw, rng, progress)
            with torch.no_grad(), drawing_from(rng.fold("model")):
                return Slope(value, grad, score(x).reached)

        return slope
