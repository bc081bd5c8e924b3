"""Threat models: the ball that an attacker may move within, always cut by the box [0, 1].

``eps`` may be infinite: then the box alone is the limit, as for an attack that looks for the
smallest perturbation there is.

A projection is feasible and idempotent, and non-expansive but in ℓ0, whose ball is not convex.
Feasible is meant exactly: the ball is shrunk by the rounding of ``x`` itself (`_slack`), so that
the distance recomputed in float64 never exceeds ``eps``, in float16 as in float64.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.around import Around, Cubes
from holdfast.errors import InputError
from holdfast.parameters import check_fields
from holdfast.random import Stream
from holdfast.tensors import expand, norm, unit
from holdfast.types import Balls, Images, PerExample, Threat

__all__ = [
    "L0",
    "L1",
    "L2",
    "Linf",
    "dual",
    "finite",
]


@dataclass(frozen=True)
class _Ball(ABC):
    """What the balls of all norms share."""

    eps: float
    name: ClassVar[str]
    p: ClassVar[float]

    def __post_init__(self) -> None:
        check_fields(self)
        if self.eps < 0:
            raise InputError(
                f"eps is {self.eps}, but the size of a ball is a number of at least 0."
            )
        if type(self.eps) not in (int, float):  # NumPy's, which a record would show as another
            object.__setattr__(self, "eps", float(self.eps))

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
        return norm(_difference(x, x0), self.p)


@dataclass(frozen=True)
class Linf(_Ball):
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
        return max(0.0, self.eps - _slack(x0))

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


@dataclass(frozen=True)
class L2(_Ball):
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
        rounding = _slack(x0) * (math.sqrt(math.prod(x0.shape[1:])) + 4 * eps)
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


@dataclass(frozen=True)
class L1(_Ball):
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
        radius = max(0.0, self.eps - _slack(x0) * math.prod(x0.shape[1:]))
        return _into_cross_polytope(x, x0, radius)

    def project_each(self, x: Images, x0: Images, radius: PerExample) -> Images:
        """The nearest point, in ℓ2, of every image's own ball cut by the box."""
        return _into_cross_polytope(x, x0, radius[:, None])

    def steepest(self, grad: Images) -> Images:
        """All of the step on the pixel with the largest gradient."""
        return _largest_alone(grad)

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


@dataclass(frozen=True)
class L0(_Ball):
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
        return _largest_alone(grad)

    def sample(self, x0: Images, rng: Stream) -> Images:
        """``eps`` components, each as likely as any, drawn from [0, 1]."""
        size = math.prod(x0.shape[1:])
        rank = rng.fold("order").uniform((size,)).argsort(dim=1).view_as(x0)
        drawn = rng.fold("value").uniform(x0.shape[1:], x0.dtype)
        return torch.where(rank < self.eps, drawn, x0)


#: More halve a bracket of float64 than it has digits.
_HALVINGS = 64

#: Every ball, by the name of its norm.
BALLS: Mapping[str, type[Linf | L2 | L1 | L0]] = MappingProxyType(
    {kind.name: kind for kind in (Linf, L2, L1, L0)}
)


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


def _largest_alone(grad: Images) -> Images:
    """The sign of the entry that is largest in size, and 0 in all others."""
    flat = finite(grad).flatten(1)
    step = torch.zeros_like(flat)
    largest = flat.abs().argmax(dim=1, keepdim=True)
    step.scatter_(1, largest, flat.gather(1, largest).sign())
    return step.view_as(grad)


def _largest_changes(x: Tensor, x0: Tensor, count: Tensor | float) -> Tensor:
    """The nearest point, in ℓ2, with at most ``count`` changes; one number, or (N, 1).

    Moving component i into the box, rather than leaving it as in ``x0``, lessens the squared
    distance from ``x`` by (x - x0)² - (x - clip(x))².
    """
    inside = x.clamp(0, 1)
    nearer = _difference(x, x0).square() - _difference(x, inside).square()
    rank = nearer.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return torch.where((rank < count).to(x.device).view_as(x), inside, x0)


def _into_cross_polytope(x: Tensor, x0: Tensor, radius: Tensor | float) -> Tensor:
    """The ℓ1 projection; see `L1.project`. ``radius`` is one number, or (N, 1)."""
    delta = _difference(x, x0).flatten(1)  # float64: sums over many pixels cancel
    start = x0.to(delta).flatten(1)
    room = torch.where(delta > 0, 1 - start, start)
    size = delta.abs()
    shift = _shift_to_sum(size, room, radius)
    moved = torch.minimum((size - shift[:, None]).clamp(min=0), room)
    return (start + delta.sign() * moved).clamp(0, 1).view_as(x).to(x)


def _difference(x: Tensor, x0: Tensor) -> Tensor:
    if x.device.type == "mps":  # has no float64
        x, x0 = x.cpu(), x0.cpu()
    return x.double() - x0.double()


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _slack(x0: Tensor) -> float:
    """How far rounding can push one pixel of the box; half a unit in the last place of 1, twice."""
    return torch.finfo(x0.dtype).eps / 2


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
