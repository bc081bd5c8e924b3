"""A point that moves, and the closest that fooled on its way: what DDN, FMN and σ-zero share."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.confirmation import confirmed
from holdfast.attacks.engine.onward import Onward
from holdfast.attacks.engine.roles import EarlyStop
from holdfast.goals import cross_entropy
from holdfast.gradients import autograd
from holdfast.parameters import above_zero, at_least_one
from holdfast.random import Stream, drawing_from
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


@dataclass(eq=False)
class Points(Active):
    """Where the examples that are worth more calls are; derive from it to remember more."""

    x: Images
    x0: Images
    value: PerExample  # of the score at x
    grad: Images
    reached: Flags
    nearest: PerExample  # distance of the closest fooling point so far; infinite without one
    score: Score
    rng: Stream


P = TypeVar("P", bound=Points)


@dataclass(frozen=True, kw_only=True)
class Pursuit(Onward, Generic[P]):
    """Ask about one point after another, within no limit but the box; keep the closest that fools.

    What derives from it has a goal, a gradient and early_stop among its fields, and writes `begin`
    and `advance`.

    Attributes:
        threat: a ball; points beyond its eps, which may be infinite, do not count.
        steps: number of iterations, at least 1; each costs one gradient.
    """

    threat: Threat = field(kw_only=False)
    steps: int = 100

    if TYPE_CHECKING:  # so that each has them where its own parameters have their place
        goal: Goal
        gradient: Gradient
        early_stop: EarlyStop

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(steps=self.steps)

    @abstractmethod
    def begin(self, at: Points) -> P:
        """Where to begin, with what else is remembered: ``Mine(**at.known(), ...)``."""

    @abstractmethod
    def advance(self, at: P, step: int) -> None:
        """Move ``at.x``, within the box, from what is known there; drop what is done."""

    def onward(
        self,
        model: Model,
        x0: Images,
        start: Images,
        y: Labels,
        rng: Stream,
        callback: Callback | None = None,
    ) -> Images:
        """Move, and keep the closest point that fools; see `Onward.onward`."""
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        closest = Closest(x0, self.threat.unlimited())
        none = closest.distance
        at = self.begin(Points(start, x0, none, x0, closest.found, none, score, rng))
        for step in range(self.steps):
            slope = self.gradient(at.score)(at.x, at.rng.fold("step", step), step / self.steps)
            at.value, at.grad, at.reached = slope
            if callback is not None:
                callback(Step(step, at.position, at.x, *slope))
            closest.offer(at.x, at.reached, at.position)
            at.keep(closest.improvable(self.threat, self.early_stop)[at.position])
            if len(at):
                at.nearest = closest.distance[at.position]
                self.advance(at, step)
            if not len(at):
                break
        return confirmed(model, score, closest, self.threat, rng)


@dataclass(frozen=True, kw_only=True)
class MinimumNorm(Pursuit[P]):
    """A pursuit that moves a point by its gradients, some way in each step.

    A point beyond the threat's eps may lead to one within: on adversarially trained networks that
    breaks some images which nothing reaches from inside.

    Attributes:
        threat: a ball; points beyond its eps, which may be infinite, do not count.
        steps: number of iterations, at least 1; each costs one gradient.
        step_size: of the first step, above 0.
        goal: what to ascend.
        gradient: how to estimate its gradient.
        early_stop: stop an image at the first point found within the threat's eps.
    """

    step_size: float = 1.0
    goal: Goal = cross_entropy
    gradient: Gradient = autograd
    early_stop: EarlyStop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(step_size=self.step_size)
