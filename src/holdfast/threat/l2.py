"""The ball of ℓ2: Euclidean distance."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.random import Stream
from holdfast.tensors import expand, norm, unit
from holdfast.threat.ball import Ball, finite, slack
from holdfast.types import Images, PerExample

__all__ = ["L2"]


@dataclass(frozen=True)
class L2(Ball):
    """All images within Euclidean distance ``eps``, over all of C·H·W, of x.

    Attributes:
        eps: size of the ball on the scale where images lie in [0, 1]; infinite for no limit.

    Example:
        >>> from holdfast import L2
        >>> threat = L2(0.5)
        >>> threat.steepest(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
        >>> bool((threat.distance(threat.project(x + 1, x), x) <= 0.5).all())
        True
    """

    eps: float
    name: ClassVar[str] = "l2"
    p: ClassVar[float] = 2.0

    def project(self, x: Images, x0: Images) -> Images:
        """Scale the perturbation into the ball, then clip to [0, 1].

        Clipping towards a box that holds ``x0`` never lengthens a perturbation.
        """
        delta = _at_least_float32(x) - x0
        eps = self.reach(x0)
        rounding = slack(x0) * (math.sqrt(math.prod(x0.shape[1:])) + 4 * eps)
        radius = math.inf if math.isinf(self.eps) else max(0.0, eps - rounding)
        length = norm(delta, 2)
        factor = (radius / length).nan_to_num_(1.0).clamp_(max=1)  # NaN where both are 0
        return (x0 + expand(factor, x) * delta).clamp(0, 1).to(x.dtype)

    def project_each(self, x: Images, x0: Images, radius: PerExample) -> Images:
        """Scale every perturbation into its own ball, then clip to [0, 1]."""
        length = norm(x - x0, 2)
        factor = torch.where(length > radius, radius / length, 1)
        return (x0 + expand(factor, x).to(x) * (x - x0)).clamp(0, 1)

    def steepest(self, grad: Images) -> Images:
        """Grad / ‖grad‖₂."""
        return unit(finite(grad), 2)

    def sample(self, x0: Images, rng: Stream) -> Images:
        """A uniform draw from the ball, cut by the box.

        A normal vector gives the direction; the radius eps · u^(1/d) makes the volume uniform.
        """
        direction = unit(rng.fold("direction").normal(x0.shape[1:], x0.dtype), 2)
        fraction = rng.fold("radius").uniform((), x0.dtype) ** (1 / direction[0].numel())
        return self.project(x0 + expand(self.reach(x0) * fraction, x0) * direction, x0)


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
