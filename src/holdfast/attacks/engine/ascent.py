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

from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.directions import Direction, steepest
from holdfast.attacks.engine.starts import Start, at_image
from holdfast.errors import InputError
from holdfast.gradients import autograd
from holdfast.random import Stream
from holdfast.types import Callback, Gradient, Images, Score, Step


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
    """

    steps: int
    step_size: float
    start: Start = at_image
    gradient: Gradient = autograd
    direction: Direction = steepest
    early_stop: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise InputError(f"steps is {self.steps}, but an attack takes at least 1 step.")
        if not 0 <= self.step_size < math.inf:
            raise InputError(
                f"step_size is {self.step_size}, but must be a finite number of at least 0; in a "
                "ball without a limit, name one."
            )

    def climb(
        self, score: Score, x0: Images, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Ascend a score that has been stated already; see `Climb.climb`."""
        x = self.start(x0, self.threat, rng.fold("start"))
        slope, memory = self.gradient(score), None
        result = x.clone()
        active = torch.arange(len(x), device=x.device)
        for step in range(self.steps):
            value, grad, reached = slope(x, rng.fold("step", step), step / self.steps)
            if callback is not None:
                callback(Step(step, active, x, value, grad, reached))
            if self.early_stop and reached.any():
                result[active] = x
                (keep,) = torch.nonzero(~reached, as_tuple=True)
                if not len(keep):
                    return result
                x, x0, grad, active = x[keep], x0[keep], grad[keep], active[keep]
                score, rng = score.take(keep), rng.take(keep)
                slope, memory = self.gradient(score), None if memory is None else memory[keep]
            ascent, memory = self.direction(grad, memory, self.threat)
            x = self.threat.project(torch.add(x, ascent, alpha=self.step_size), x0)
        result[active] = x
        return result
