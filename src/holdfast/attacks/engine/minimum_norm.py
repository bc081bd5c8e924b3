"""A point that moves, and the closest that fooled on its way: what DDN, FMN and σ-zero share."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

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

    def known(self) -> dict[str, Any]:
        """All fields by name, for what derives from it to begin with."""
        return {entry.name: getattr(self, entry.name) for entry in self._entries()}


P = TypeVar("P", bound=Points)


@dataclass(frozen=True, kw_only=True)
class MinimumNorm(Onward, Generic[P]):
    """Move a point by its gradients, within no limit but the box; keep the closest that fools.

    A point beyond the threat's eps may lead to one within: on adversarially trained networks that
    breaks some images which nothing reaches from inside.

    A new attack of the kind writes `begin` and `advance`.

    Attributes:
        threat: a ball; points beyond its eps, which may be infinite, do not count.
        steps: number of iterations, at least 1; each costs one gradient.
        step_size: of the first step, above 0.
        goal: what to ascend.
        gradient: how to estimate its gradient.
        early_stop: stop an image at the first point found within the threat's eps.
    """

    threat: Threat = field(kw_only=False)
    steps: int = 100
    step_size: float = 1.0
    goal: Goal = cross_entropy
    gradient: Gradient = autograd
    early_stop: EarlyStop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(steps=self.steps)
        above_zero(step_size=self.step_size)

    @abstractmethod
    def begin(self, at: Points) -> P:
        """Where to begin, with what else is remembered: ``Mine(**at.known(), ...)``."""

    @abstractmethod
    def advance(self, at: P, step: int) -> None:
        """Move ``at.x``, within the box, from what is known there."""

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
            if not len(at):
                break
            at.nearest = closest.distance[at.position]
            self.advance(at, step)
        return confirmed(model, score, closest, self.threat, rng)
