"""C&W: the closest fooling point in ℓ2, by Adam in a space where every point is an image."""

import math
from copy import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from holdfast.attacks.attack import Attack
from holdfast.attacks.closest import Closest
from holdfast.attacks.tradeoff import Task, search_tradeoff, succeeded
from holdfast.errors import InputError
from holdfast.goals import margin
from holdfast.gradients import autograd
from holdfast.random import Stream, drawing_from
from holdfast.tensors import expand, norm
from holdfast.threat import finite
from holdfast.types import (
    Callback,
    Flags,
    Goal,
    Gradient,
    Images,
    Labels,
    Model,
    PerExample,
    Slope,
    Step,
    Threat,
)

#: How much of tanh's range (-1, 1) the pixels [0, 1] take up: a pixel at 0 or 1 has the slope
#: 1 - 0.9² = 0.19 of one in the middle. With the original's 0.999999 it has 2e-6, and Adam needs
#: hundreds of steps to move it at all.
EDGE = 0.9


@dataclass(frozen=True, kw_only=True)
class CarliniWagner(Attack):
    """C&W in ℓ2: minimise the distance and a hinge on the score together, without a budget.

        minimise  ‖x - x0‖₂² + c · max(κ - value(x), 0)   over w,   x = (tanh(w) / EDGE + 1) / 2

    by Adam, for several c, each example by itself; the closest point that fools by κ is returned.
    Costs at most 1 + searches · steps gradients. With ``gradient=Average(samples, noise)``, the
    gradient of the second-order attack, this is the ℓ2 attack of STN section 6.2.

    Attributes:
        threat: an ℓ2 ball; points beyond its eps, which may be infinite, do not count.
        steps: Adam's steps at each c, at least 1; 10,000 in the paper.
        searches: how many values of c are tried, at least 1.
        step_size: Adam's step in w, above 0.
        confidence: κ >= 0, how far above 0 the value must come, in the units of the goal's loss.
        goal: its value must be above 0 exactly where it is reached, as that of `goals.margin` or
            ``goals.toward(target, losses.towards_margin)``.
        gradient: how to estimate its gradient.
        abort_early: leave a c when a tenth of the steps has not lowered an example's objective.
        early_stop: stop an image at the first point found within the threat's eps.

    Raises:
        InputError: if the threat is not ℓ2, or a parameter lies outside its range.

    Reference:
        Carlini and Wagner, "Towards evaluating the robustness of neural networks", S&P 2017,
        section VI.A. Differs from the paper in that tanh is stretched by 1 / EDGE and cut to the
        box, so that w stands for x0 exactly and pixels at 0 or 1 can move; that c begins at the
        value that is right for a linear score instead of at 0.001, and is searched for
        geometrically; and that the hinge pulls wherever the point itself does not succeed, which
        matters when the value is an average. An image that fools as it stands is returned as it is.
    """

    threat: Threat = field(kw_only=False)
    steps: int = 500
    searches: int = 9
    step_size: float = 0.01
    confidence: float = 0.0
    goal: Goal = margin
    gradient: Gradient = autograd
    abort_early: bool = True
    early_stop: bool = False

    def __post_init__(self) -> None:
        if self.threat.p != 2:
            raise InputError(f"the threat is {self.threat}, but C&W is defined in L2 only.")
        if self.steps < 1 or self.searches < 1:
            raise InputError(
                f"steps is {self.steps} and searches {self.searches}, but each is at least 1."
            )
        if not 0 < self.step_size < math.inf:
            raise InputError(f"step_size is {self.step_size}, but must be above 0.")
        if not 0 <= self.confidence < math.inf:
            raise InputError(f"confidence is {self.confidence}, but must be at least 0.")

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Search c, minimising at each; see `Attack.perturb`."""
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        closest = Closest(x0, self.threat)
        search_tradeoff(
            lambda task: self._minimize(task, closest, callback),
            self._initial,
            closest,
            score,
            self.gradient,
            x0,
            rng,
            searches=self.searches,
            early_stop=self.early_stop,
        )
        return closest.image

    def _initial(self, first: Slope) -> PerExample:
        """2 (κ - v) / ‖g‖₂²: the smallest c that fools a linear score."""
        return 2 * (self.confidence - first.value) / norm(first.grad, 2).square()

    def _minimize(self, task: Task, closest: Closest, callback: Callback | None) -> Flags:
        """Adam at one c; which examples came to a point that succeeds."""
        score, x0, c, at, rng, position, number = task
        success = torch.zeros_like(at.reached)
        active = torch.arange(len(x0), device=x0.device)
        slope, x, adam = self.gradient(score), x0, _Adam(x0)
        start = w = torch.atanh(EDGE * (2 * x0 - 1))
        lowest = checked = torch.full_like(c, torch.inf)
        for step in range(self.steps):
            pull = torch.where(succeeded(at, self.confidence), 0, c)  # 0 where the hinge is flat
            grad_x = 2 * (x - x0) - finite((expand(pull, x) * finite(at.grad)).to(x))
            grad_w = grad_x * (1 - torch.tanh(w).square()) / (2 * EDGE)  # dx/dw
            w = w - self.step_size * adam.direction(grad_w)
            x = (x0 + (torch.tanh(w) - torch.tanh(start)) / (2 * EDGE)).clamp(0, 1)
            at = slope(x, rng.fold("step", step), step / self.steps)
            if callback is not None:
                callback(Step(number * self.steps + step, position, x, *at))
            fools = succeeded(at, self.confidence)
            closest.offer(x, fools, position)
            success[active] |= fools
            worth = closest.improvable(position, self.early_stop)
            hinge = (self.confidence - at.value).clamp(min=0)
            lowest = torch.minimum(lowest, norm(x - x0, 2).square() + c * hinge)
            if self.abort_early and (step + 1) % max(self.steps // 10, 1) == 0:
                worth &= lowest < 0.9999 * checked
                checked = lowest
            (keep,) = torch.nonzero(worth, as_tuple=True)
            if not len(keep):
                break
            if len(keep) < len(active):
                active, position, x, x0 = active[keep], position[keep], x[keep], x0[keep]
                w, start, c, adam = w[keep], start[keep], c[keep], adam.take(keep)
                lowest, checked, at = lowest[keep], checked[keep], Slope(*(f[keep] for f in at))
                score, rng = score.take(keep), rng.take(keep)
                slope = self.gradient(score)
        return success


class _Adam:
    """Adam's running means of the gradient and its square, per example (Kingma and Ba 2015)."""

    def __init__(self, like: Tensor) -> None:
        self.step = 0
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)

    def take(self, index: Tensor) -> "_Adam":
        """The means of the chosen examples."""
        chosen = copy(self)
        chosen.mean, chosen.square = self.mean[index], self.square[index]
        return chosen

    def direction(self, grad: Tensor) -> Tensor:
        """What to subtract, for a step of size 1."""
        self.step += 1
        self.mean = 0.9 * self.mean + 0.1 * grad
        self.square = 0.999 * self.square + 0.001 * grad.square()
        mean, square = self.mean / (1 - 0.9**self.step), self.square / (1 - 0.999**self.step)
        return mean / (square.sqrt() + 1e-8)
