"""A ball that shrinks where its point fools and grows where it does not: what DDN and FMN share."""

from abc import abstractmethod
from dataclasses import dataclass

import torch

from holdfast.attacks.engine.minimum_norm import MinimumNorm
from holdfast.attacks.engine.minimum_norm import Points as Anywhere
from holdfast.errors import InputError
from holdfast.tensors import norm
from holdfast.types import Images, PerExample

__all__ = ["AdaptiveRadius"]


@dataclass(eq=False)
class Points(Anywhere):
    """Where the examples that are worth more calls are, each with its ball."""

    radius: PerExample
    farthest: PerExample  # what the radius never exceeds: distance of the box's farthest corner


@dataclass(frozen=True, kw_only=True)
class AdaptiveRadius(MinimumNorm[Points]):
    """Move a point with its ball across the boundary, back and forth; keep the closest that fools.

    A new attack of the kind writes `first_radius` and `move`.

    Attributes:
        threat: a ball; points beyond its eps, which may be infinite, do not count.
        steps: number of iterations, at least 1; each costs one gradient.
        step_size: of the first step, above 0.
        gamma: γ in (0, 1), by how much the radius changes.
        goal: what to ascend.
        gradient: how to estimate its gradient.
        early_stop: stop an image at the first point found within the threat's eps.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import AdaptiveRadius
        >>> class HalvedRadius(AdaptiveRadius):
        ...     def first_radius(self, farthest):
        ...         return farthest
        ...     def move(self, at, step):
        ...         radius = torch.where(at.reached, 0.9 * at.radius, 1.1 * at.radius)
        ...         away = at.x - at.x0 + self.step_size * self.threat.steepest(at.grad)
        ...         return self.threat.project_each(at.x0 + away, at.x0, radius), radius
        >>> x_adv = HalvedRadius(L2(float("inf")), steps=20)(model, x, y)
        >>> bool((model(x_adv).argmax(dim=1) != y).all())
        True
    """

    gamma: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.gamma < 1:
            raise InputError(f"gamma is {self.gamma}, but must lie between 0 and 1.")

    @abstractmethod
    def first_radius(self, farthest: PerExample) -> PerExample:
        """The radius before the first step, at most ``farthest``."""

    @abstractmethod
    def move(self, at: Points, step: int) -> tuple[Images, PerExample]:
        """The next points, within the box, and the next radii."""

    def begin(self, at: Anywhere) -> Points:
        """The first radius, or that of the point begun at; see `MinimumNorm.begin`."""
        farthest = norm(torch.maximum(at.x0, 1 - at.x0), self.threat.p)
        away = norm(at.x - at.x0, self.threat.p)
        radius = torch.where(away > 0, away, self.first_radius(farthest))
        return Points(**at.known(), radius=radius, farthest=farthest)

    def advance(self, at: Points, step: int) -> None:
        """One `move`; see `MinimumNorm.advance`."""
        at.x, at.radius = self.move(at, step)
