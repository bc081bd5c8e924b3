"""The ball of ℓ∞: so much in every pixel."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from holdfast.random import Stream
from holdfast.tensors import expand
from holdfast.threat.around import Cubes
from holdfast.threat.ball import Ball, finite, slack
from holdfast.types import Balls, Images, PerExample

__all__ = ["Linf"]


@dataclass(frozen=True)
class Linf(Ball):
    """All images within ``eps`` of x in every pixel: max_i |x'_i - x_i| <= eps.

    Attributes:
        eps: size of the ball on the scale where images lie in [0, 1]; 8/255 for 8 of 255 levels;
            infinite for no limit.

    Example:
        >>> from holdfast import Linf
        >>> threat = Linf(8 / 255)
        >>> x_adv = threat.project(x + 1, x)  # into the ball, and into the box
        >>> bool((threat.distance(x_adv, x) <= 8 / 255).all()), float(x_adv.max()) <= 1
        (True, True)
    """

    eps: float
    name: ClassVar[str] = "linf"
    p: ClassVar[float] = math.inf

    def project(self, x: Images, x0: Images) -> Images:
        """Clip every pixel to within ``eps`` of ``x0`` and to [0, 1]."""
        radius = self._radius(x0)
        return torch.clamp(x, x0 - radius, x0 + radius).clamp_(0, 1)

    def around(self, x0: Images) -> Balls:
        """The cubes around ``x0``, cut by the box."""
        radius = self._radius(x0)
        return Cubes((x0 - radius).clamp_(0, 1), (x0 + radius).clamp_(0, 1))

    def _radius(self, x0: Images) -> float:
        """``eps`` less what rounding adds; infinite where the box alone cuts."""
        return max(0.0, self.eps - slack(x0))

    def project_each(self, x: Images, x0: Images, radius: PerExample) -> Images:
        """Clip every pixel to within its image's ``radius`` and to [0, 1]."""
        size = expand(radius, x).to(x)
        return torch.clamp(x, (x0 - size).clamp(min=0), (x0 + size).clamp(max=1))

    def steepest(self, grad: Images) -> Images:
        """sign(grad): among steps of ℓ∞ norm 1, the one that raises the linearised score most."""
        return finite(grad).sign()

    def sample(self, x0: Images, rng: Stream) -> Images:
        """A uniform draw from the cube, cut by the box."""
        noise = 2 * rng.uniform(x0.shape[1:], x0.dtype) - 1
        return self.project(x0 + self.reach(x0) * noise, x0)
