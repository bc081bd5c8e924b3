"""The ball of ℓ0: so many components."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.threat.ball import Ball, difference, largest_alone
from holdfast.types import Images, PerExample

__all__ = ["L0"]


@dataclass(frozen=True)
class L0(Ball):
    """All images in which at most ``eps`` components differ from x, by any amount.

    What counts is a component, one channel of one pixel, as σ-zero and AttackBench count: a grey
    pixel is one, a pixel in colour up to three. ℓ0 is no norm: its ball is not convex, and a step
    has no length in it, so attacks that take steps of a length refuse it.

    Attributes:
        eps: how many components may change, a whole number; infinite for no limit.

    Raises:
        InputError: if eps is no such number.

    Example:
        >>> from holdfast import L0
        >>> threat = L0(2)
        >>> threat.project(torch.tensor([[0.9, 0.1, 0.4]]), torch.tensor([[0.5, 0.5, 0.5]]))
        tensor([[0.9000, 0.1000, 0.5000]])
        >>> threat.distance(torch.tensor([[0.9, 0.1, 0.5]]), torch.tensor([[0.5, 0.5, 0.5]]))
        tensor([2.], dtype=torch.float64)
    """

    eps: float
    name: ClassVar[str] = "l0"
    p: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if math.isfinite(self.eps) and self.eps != math.floor(self.eps):
            raise InputError(
                f"eps is {self.eps}, but l0 counts the components that change: give a whole number,"
                " such as 25, or inf."
            )

    def diameter(self, x0: Images) -> float:
        """Of the box: d, since all components may change."""
        return float(math.prod(x0.shape[1:]))

    def project(self, x: Images, x0: Images) -> Images:
        """The nearest point, in ℓ2, of the ball cut by the box: the largest changes are kept."""
        return _largest_changes(x, x0, self.eps)

    def project_each(self, x: Images, x0: Images, radius: PerExample) -> Images:
        """The nearest point, in ℓ2, of every image's own ball cut by the box."""
        return _largest_changes(x, x0, radius[:, None])

    def steepest(self, grad: Images) -> Images:
        """The component with the largest gradient alone, by 1, the width of the box."""
        return largest_alone(grad)

    def sample(self, x0: Images, rng: Stream) -> Images:
        """``eps`` components, each as likely as any, drawn from [0, 1]."""
        size = math.prod(x0.shape[1:])
        rank = rng.fold("order").uniform((size,)).argsort(dim=1).view_as(x0)
        drawn = rng.fold("value").uniform(x0.shape[1:], x0.dtype)
        return torch.where(rank < self.eps, drawn, x0)


def _largest_changes(x: Tensor, x0: Tensor, count: Tensor | float) -> Tensor:
    """The nearest point, in ℓ2, with at most ``count`` changes; one number, or (N, 1).

    Moving component i into the box, rather than leaving it as in ``x0``, lessens the squared
    distance from ``x`` by (x - x0)² - (x - clip(x))².
    """
    inside = x.clamp(0, 1)
    nearer = difference(x, x0).square() - difference(x, inside).square()
    rank = nearer.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return torch.where((rank < count).to(x.device).view_as(x), inside, x0)
