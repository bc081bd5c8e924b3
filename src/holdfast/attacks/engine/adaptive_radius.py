"""A ball that shrinks where its point fools and grows where it does not: what DDN and FMN share."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.confirmation import confirmed
from holdfast.attacks.engine.roles import EarlyStop
from holdfast.errors import InputError
from holdfast.goals import cross_entropy
from holdfast.gradients import autograd
from holdfast.parameters import above_zero, at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.tensors import norm
from holdfast.types import (
    Callback,
    Flags,
    Goal,
    Gradient,
    Images,
    Labels,
    Model,
    PerExample,
    Score,
    Step,
    Threat,
)

__all__ = ["AdaptiveRadius"]


@dataclass(eq=False)
class Points(Active):
    """Where the examples that are worth more calls are."""

    x: Images
    x0: Images
    value: PerExample  # of the score at x
    grad: Images
    reached: Flags
    radius: PerExample
    farthest: PerExample  # what the radius never exceeds: distance of the box's farthest corner
    nearest: PerExample  # distance of the closest fooling point so far; infinite without one
    score: Score
    rng: Stream


@dataclass(frozen=True, kw_only=True)
class AdaptiveRadius(Attack):
    """Move a point with its ball across the boundary, back and forth; keep the closest that fools.

    The search itself knows no limit but the box, since a point beyond the threat's eps may lead to
    one within: on adversarially trained networks that breaks some images which nothing reaches
    from inside.

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

    finds_smallest: ClassVar[bool] = True

    threat: Threat = field(kw_only=False)
    steps: int = 100
    step_size: float = 1.0
    gamma: float = 0.05
    goal: Goal = cross_entropy
    gradient: Gradient = autograd
    early_stop: EarlyStop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(steps=self.steps)
        above_zero(step_size=self.step_size)
        if not 0 < self.gamma < 1:
            raise InputError(f"gamma is {self.gamma}, but must lie between 0 and 1.")

    @abstractmethod
    def first_radius(self, farthest: PerExample) -> PerExample:
        """The radius before the first step, at most ``farthest``."""

    @abstractmethod
    def move(self, at: Points, step: int) -> tuple[Images, PerExample]:
        """The next points, within the box, and the next radii."""

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Move, and keep the closest point that fools; see `Attack.perturb`."""
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        closest = Closest(x0, self.threat.unlimited())
        farthest = norm(torch.maximum(x0, 1 - x0), self.threat.p)
        radius, nearest = self.first_radius(farthest), closest.distance
        at = Points(x0, x0, nearest, x0, closest.found, radius, farthest, nearest, score, rng)
        for step in range(self.steps):
            slope = self.gradient(at.score)(at.x, at.rng.fold("step", step), step / self.steps)
            at.value, at.grad, at.reached = slope
            if callback is not None:
                callback(Step(step, at.position, at.x, *slope))
            closest.offer(at.x, at.reached, at.position)
            at.keep(closest.improvable(self.threat, self.early_stop)[at.position])
            if not len(at):
                break
            at.nearest = closest.distance[at.position]
            at.x, at.radius = self.move(at, step)
        return confirmed(model, score, closest, self.threat, rng)
