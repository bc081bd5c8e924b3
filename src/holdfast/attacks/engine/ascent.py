"""Projected gradient ascent: the one engine behind every attack that follows a gradient.

    x ← start(x0)
    repeat:  g ← gradient of the score at x
             x ← Π(x + α · direction(g))                                      (SO equation 2)

Each method plugs in at one place: R+FGSM at the start, Step-LL at the goal, the second-order attack
at the gradient, MIM at the direction. FGSM and PGD are settings of it.
"""

import math
from dataclasses import dataclass

import torch

from holdfast.attacks.engine.active import Active, Tree
from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.directions import Direction, steepest
from holdfast.attacks.engine.roles import EarlyStop, Length
from holdfast.attacks.engine.starts import Start, at_image
from holdfast.errors import InputError
from holdfast.goals import cross_entropy
from holdfast.gradients import autograd
from holdfast.parameters import at_least_one
from holdfast.random import Stream
from holdfast.types import Balls, Callback, Goal, Gradient, Images, Score, Step, Threat

__all__ = ["Ascent"]


@dataclass(frozen=True, kw_only=True)
class Ascent(Climb):
    """Ascend a score within a threat model, a fixed number of steps.

    Attributes:
        threat: the ball to stay in.
        steps: number of iterations, at least 1; each costs one gradient.
        step_size: length α of each step, in the threat's norm.
        start: where to begin.
        goal: what to ascend.
        gradient: how to estimate its gradient.
        direction: how to step along it.
        early_stop: return each image at its first iterate that reaches the goal and spend nothing
            more on it; otherwise spend all steps and return the last iterate.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import Ascent, Momentum, in_ball
        >>> ascent = Ascent(
        ...     threat=Linf(0.3), steps=5, step_size=0.1, start=in_ball, direction=Momentum(1.0)
        ... )
        >>> x_adv = ascent(model, x, y, seed=0)
        >>> bool((x_adv - x).abs().max() <= 0.3)
        True
    """

    threat: Threat
    steps: int
    step_size: Length
    start: Start = at_image
    goal: Goal = cross_entropy
    gradient: Gradient = autograd
    direction: Direction = steepest
    early_stop: EarlyStop = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(steps=self.steps)
        if not 0 <= self.step_size < math.inf:
            raise InputError(
                f"step_size is {self.step_size}, but must be a finite number of at least 0; where "
                "it follows from eps, give a finite eps, or a step_size if the attack takes one."
            )

    def climb(
        self, score: Score, x0: Images, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Ascend a score that has been stated already; see `Climb.climb`."""
        x = self.start(x0, self.threat, rng.fold("start"))
        balls = self.threat.around(x0)
        at, result = _Iterates(x, x, balls, score, rng), x.clone()
        for step in range(self.steps):
            slope = self.gradient(at.score)
            value, at.grad, reached = slope(at.x, at.rng.fold("step", step), step / self.steps)
            if callback is not None:
                callback(Step(step, at.position, at.x, value, at.grad, reached))
            if self.early_stop and reached.any():
                at.scatter(result, at.x)
                at.keep(~reached)
                if not len(at):
                    return result
            ascent, at.memory = self.direction(at.grad, at.memory, self.threat, step)
            at.x = at.balls.project(torch.add(at.x, ascent, alpha=self.step_size))
        at.scatter(result, at.x)
        return result


@dataclass(eq=False)
class _Iterates(Active):
    """What an ascent knows of each example."""

    x: Images
    grad: Images  # at x
    balls: Balls
    score: Score
    rng: Stream
    memory: Tree = None  # the direction's
