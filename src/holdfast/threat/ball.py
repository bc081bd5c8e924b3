"""What the balls of all norms share."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import InputError
from holdfast.parameters import check_fields
from holdfast.random import Stream
from holdfast.tensors import norm
from holdfast.threat.around import Around
from holdfast.types import Balls, Images, PerExample, Threat

__all__ = ["Ball", "difference", "dual", "finite", "largest_alone", "slack"]


@dataclass(frozen=True)
class Ball(ABC):
    """What the balls of all norms share.

    Example:
        >>> from holdfast import L1, Linf
        >>> from holdfast.threat.ball import Ball
        >>> isinstance(Linf(0.1), Ball), L1(0.5).unlimited()
        (True, L1(eps=inf))
    """

    eps: float
    name: ClassVar[str]
    p: ClassVar[float]

    def __post_init__(self) -> None:
        check_fields(self)
        if self.eps < 0:
            raise InputError(
                f"eps is {self.eps}, but the size of a ball is a number of at least 0."
            )

    def unlimited(self) -> Threat:
        """The same norm without a limit: a point just beyond it may lead to one within."""
        return replace(self, eps=math.inf)

    def diameter(self, x0: Images) -> float:
        """Of the box [0, 1]^d that images like ``x0`` lie in: d^(1/p), 1 in ℓ∞."""
        return math.prod(x0.shape[1:]) ** (1 / self.p)

    def reach(self, x0: Images) -> float:
        """How far a point of the ball can lie from the centre: ``eps``, or the box's diameter."""
        return min(self.eps, self.diameter(x0))

    @abstractmethod
    def project(self, x: Images, x0: Images) -> Images:
        """Bring ``x`` into the ball around ``x0`` and into the box."""

    def around(self, x0: Images) -> Balls:
        """The balls around ``x0``, whose `project` is this one's to the last bit."""
        return Around(self, x0)

    @abstractmethod
    def project_each(self, x: Images, x0: Images, radius: PerExample) -> Images:
        """As `project`, but every image into its own ball, of size ``radius`` (N,).

        ``eps`` plays no part, and rounding may overstep the ball.
        """

    @abstractmethod
    def steepest(self, grad: Images) -> Images:
        """The direction of norm 1 along which ``grad`` rises fastest; 0 where ``grad`` is 0."""

    @abstractmethod
    def sample(self, x0: Images, rng: Stream) -> Images:
        """A random point of the ball, cut by the box."""

    def distance(self, x: Images, x0: Images) -> PerExample:
        """‖x - x0‖_p, in float64."""
        return norm(difference(x, x0), self.p)


def finite(grad: Images) -> Images:
    """``grad`` with NaN as 0 and infinities as the largest number: a direction, never a NaN.

    Example:
        >>> from holdfast.threat import finite
        >>> finite(torch.tensor([[float("nan"), 1.0]]))
        tensor([[0., 1.]])
    """
    return torch.nan_to_num(grad)


def dual(p: float) -> float:
    """The q with 1/p + 1/q = 1.

    Example:
        >>> from holdfast.threat import dual
        >>> dual(2), dual(1), dual(float("inf"))
        (2.0, inf, 1.0)
    """
    return 1.0 if math.isinf(p) else math.inf if p == 1 else p / (p - 1)


def largest_alone(grad: Images) -> Images:
    """The sign of the entry that is largest in size, and 0 in all others.

    Example:
        >>> from holdfast.threat.ball import largest_alone
        >>> largest_alone(torch.tensor([[3.0, -4.0]]))
        tensor([[ 0., -1.]])
    """
    flat = finite(grad).flatten(1)
    step = torch.zeros_like(flat)
    largest = flat.abs().argmax(dim=1, keepdim=True)
    step.scatter_(1, largest, flat.gather(1, largest).sign())
    return step.view_as(grad)


def difference(x: Tensor, x0: Tensor) -> Tensor:
    """``x`` - ``x0`` in float64.

    Example:
        >>> from holdfast.threat.ball import difference
        >>> difference(torch.tensor([[0.75]]), torch.tensor([[0.5]]))
        tensor([[0.2500]], dtype=torch.float64)
    """
    if x.device.type == "mps":  # has no float64
        x, x0 = x.cpu(), x0.cpu()
    return x.double() - x0.double()


def slack(x0: Tensor) -> float:
    """How far rounding can push one pixel of the box; half a unit in the last place of 1, twice.

    Example:
        >>> from holdfast.threat.ball import slack
        >>> slack(torch.zeros(1)) == 2.0**-24
        True
    """
    return torch.finfo(x0.dtype).eps / 2
