"""The ball of ℓ1: so much in all pixels together."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.random import Stream
from holdfast.threat.ball import Ball, difference, largest_alone, slack
from holdfast.types import Images, PerExample

__all__ = ["L1"]

#: More halve a bracket of float64 than it has digits.
_HALVINGS = 64


@dataclass(frozen=True)
class L1(Ball):
    """All images with sum_i |x'_i - x_i| <= eps.

    Attributes:
        eps: size of the ball on the scale where images lie in [0, 1]; infinite for no limit.

    Example:
        >>> from holdfast import L1
        >>> threat = L1(2.0)
        >>> threat.steepest(torch.tensor([[3.0, -4.0]]))  # one pixel alone
        tensor([[ 0., -1.]])
        >>> bool((threat.distance(threat.project(x + 1, x), x) <= 2).all())
        True
    """

    eps: float
    name: ClassVar[str] = "l1"
    p: ClassVar[float] = 1.0

    def project(self, x: Images, x0: Images) -> Images:
        """The nearest point, in ℓ2, of the ball cut by the box.

        By the optimality conditions the nearest perturbation is
        sign(d) · clip(|d| - t, 0, room), where ``room`` is how far the box lets each pixel go and
        t >= 0 is the smallest shift that brings the sum to ``eps``. The sum falls with t and is
        piecewise linear, with corners at |d| and |d| - room; sorting the corners finds t exactly.
        Soft-thresholding first and clipping after would also be feasible, but stops short of the
        nearest point where the box binds.
        """
        radius = max(0.0, self.eps - slack(x0) * math.prod(x0.shape[1:]))
        return _into_cross_polytope(x, x0, radius)

    def project_each(self, x: Images, x0: Images, radius: PerExample) -> Images:
        """The nearest point, in ℓ2, of every image's own ball cut by the box."""
        return _into_cross_polytope(x, x0, radius[:, None])

    def steepest(self, grad: Images) -> Images:
        """All of the step on the pixel with the largest gradient."""
        return largest_alone(grad)

    def sample(self, x0: Images, rng: Stream) -> Images:
        """A uniform draw from the cross-polytope, cut by the box.

        d exponential draws and one more, divided by their sum, are uniform on the simplex below 1.
        """
        size = math.prod(x0.shape[1:])
        exponential = -torch.log1p(-rng.fold("radius").uniform((size + 1,)))
        fraction = exponential[:, :-1] / exponential.sum(dim=1, keepdim=True)
        positive = rng.fold("sign").uniform((size,)) < 0.5
        delta = self.reach(x0) * torch.where(positive, fraction, -fraction).view_as(x0)
        return self.project(x0 + delta.to(x0.dtype), x0)


def _into_cross_polytope(x: Tensor, x0: Tensor, radius: Tensor | float) -> Tensor:
    """The ℓ1 projection; see `L1.project`. ``radius`` is one number, or (N, 1)."""
    delta = difference(x, x0).flatten(1)  # float64: sums over many pixels cancel
    start = x0.to(delta).flatten(1)
    room = torch.where(delta > 0, 1 - start, start)
    size = delta.abs()
    shift = _shift_to_sum(size, room, radius)
    moved = torch.minimum((size - shift[:, None]).clamp(min=0), room)
    return (start + delta.sign() * moved).clamp(0, 1).view_as(x).to(x)


def _shift_to_sum(size: Tensor, room: Tensor, radius: Tensor | float) -> Tensor:
    """The smallest t >= 0 with sum_i clip(size_i - t, 0, room_i) <= radius, per row.

    Args:
        size: (N, d), at least 0.
        room: (N, d), at least 0.
        radius: at least 0; one number, or (N, 1).

    Returns:
        (N,).
    """
    # The sum falls with t, piecewise linearly: Newton's step from any point of the root's own piece
    # is exact. A step that would leave the bracket, as the corners may have it, halves it instead.
    low, high = torch.zeros_like(size[:, :1]), 2 * size.amax(dim=1, keepdim=True)
    shift, rounding = low, 4 * torch.finfo(size.dtype).eps * high
    found = torch.zeros_like(low, dtype=torch.bool)
    for _ in range(_HALVINGS):
        left = size - shift
        excess = torch.minimum(left.clamp(min=0), room).sum(dim=1, keepdim=True) - radius
        low, high = torch.where(excess > 0, shift, low), torch.where(excess > 0, high, shift)
        moving = ((left > 0) & (left <= room)).sum(dim=1, keepdim=True)
        newton = torch.where(excess == 0, shift, shift + excess / moving)
        inside = ((newton > low) & (newton < high)) | (newton == shift)
        ahead = torch.where(inside, newton, (low + high) / 2)
        last, shift = shift, torch.where(found, shift, ahead)  # so that no row waits on others
        found |= (shift - last).abs() <= rounding
        if found.all():
            break
    # On the side where the sum is no larger.
    return torch.where(shift > 0, shift + rounding, shift)[:, 0]
