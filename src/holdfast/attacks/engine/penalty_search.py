"""Distance against a hinge on the score, and how much the one weighs: what C&W and EAD share.

    minimise  distortion(x - x0) + c · max(κ - value(x), 0)   over x

where the distortion is ‖x - x0‖₂², with or without a term that the minimiser takes care of, and the
score's value is above 0 when the aim is reached. A small c leaves the image where it is, a large
one takes it farther than needed, so c is searched for, for every example by itself: it grows
tenfold until it succeeds and falls tenfold until it fails; after that it is the geometric mean of
the largest that failed and the smallest that succeeded.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.closest import Closest
from holdfast.errors import InputError
from holdfast.goals import margin
from holdfast.gradients import autograd
from holdfast.random import Stream, drawing_from
from holdfast.tensors import expand, widest
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
    Positions,
    Score,
    Slope,
    Step,
    Threat,
)


@runtime_checkable
class Memory(Protocol):
    """What a minimiser carries from step to step, a row for each example."""

    def take(self, index: Tensor) -> "Memory":
        """The rows of the chosen examples."""
        ...


class Task(NamedTuple):
    """One minimisation at fixed c, of the M examples that are left; ``first`` is taken at x0."""

    score: Score
    x0: Images
    c: PerExample
    first: Slope
    rng: Stream
    position: Positions
    number: int


@dataclass(frozen=True, kw_only=True)
class PenaltySearch(Attack):
    """Minimise at several c, and keep the best point that succeeds.

    A new attack of the kind writes `begin`, `descend`, `distortion` and `first_c`. It costs at
    most 1 + searches · steps gradients. An image that fools as it stands is returned as it is.

    Attributes:
        threat: the norm; points beyond its eps, which may be infinite, do not count.
        steps: iterations at each c, at least 1.
        searches: how many values of c are tried, at least 1.
        step_size: of the minimiser, above 0.
        confidence: κ >= 0, how far above 0 the value must come, in the units of the goal's loss.
        goal: its value must be above 0 exactly where it is reached, as that of `goals.margin` or
            ``goals.toward(target, losses.towards_margin)``.
        gradient: how to estimate its gradient.
        abort_early: leave a c when a tenth of the steps has not lowered an example's objective.
        early_stop: stop an image at the first point found within the threat's eps.
    """

    threat: Threat = field(kw_only=False)
    steps: int = 100
    searches: int = 9
    step_size: float = 0.01
    confidence: float = 0.0
    goal: Goal = margin
    gradient: Gradient = autograd
    abort_early: bool = False
    early_stop: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.searches < 1:
            raise InputError(
                f"steps is {self.steps} and searches {self.searches}, but each is at least 1."
            )
        if not 0 < self.step_size < math.inf:
            raise InputError(f"step_size is {self.step_size}, but must be above 0.")
        if not 0 <= self.confidence < math.inf:
            raise InputError(f"confidence is {self.confidence}, but must be at least 0.")

    @abstractmethod
    def begin(self, x0: Images) -> Any:
        """The minimiser's `Memory` before its first step, which is taken at the clean image."""

    @abstractmethod
    def descend(self, memory: Any, grad: Images, x: Images, x0: Images, step: int) -> Images:
        """One step of the minimiser.

        Args:
            memory: what `begin` gave; it is changed in place.
            grad: of ‖x - x0‖₂² and the weighted hinge, at ``x``.
            x: where the last gradient was taken.
            x0: clean images.
            step: counted from 0.

        Returns:
            Where to take the next gradient; these are the points that are judged.
        """

    @abstractmethod
    def distortion(self, delta: Images) -> PerExample:
        """What is weighed against the hinge."""

    @abstractmethod
    def first_c(self, first: Slope) -> PerExample:
        """The c to begin with, from the slope at x0; 1 is taken where it is no positive number."""

    def measure(self, x: Images, x0: Images) -> PerExample:
        """What is smallest for the point that is returned."""
        return self.threat.distance(x, x0)

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Search c, minimising at each; see `Attack.perturb`."""
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        closest = Closest(x0, self.threat, self.measure)
        first = self.gradient(score)(x0, rng.fold("first"), 0.0)
        closest.offer(x0, first.reached)
        wide = widest(x0.device)  # squares of gradients under- and overflow float32
        c = self.first_c(Slope(first.value.to(wide), first.grad.to(wide), first.reached))
        c = torch.where((c > 0) & c.isfinite(), c, 1)
        low, high = torch.zeros_like(c), torch.full_like(c, torch.inf)
        for number in range(self.searches):
            worth = closest.improvable(self.threat, self.early_stop)
            (left,) = torch.nonzero(worth, as_tuple=True)
            if not len(left):
                break
            start = Slope(*(part[left] for part in first))
            streams = rng.take(left).fold("search", number)
            task = Task(score.take(left), x0[left], c[left], start, streams, left, number)
            success = torch.zeros_like(first.reached)
            success[left] = self.minimize(task, closest, callback)
            high = torch.where(success, c, high)
            low = torch.where(success, low, c)
            between = torch.where(low > 0, (low * high).sqrt(), c / 10)
            c = torch.where(high.isinf(), 10 * low, between)
        return closest.image

    def minimize(self, task: Task, closest: Closest, callback: Callback | None) -> Flags:
        """Descend at one c; which examples came to a point that succeeds."""
        score, x0, c, at, rng, position, number = task
        success = torch.zeros_like(at.reached)
        active = torch.arange(len(x0), device=x0.device)
        slope, x, memory = self.gradient(score), x0, self.begin(x0)
        lowest = checked = torch.full_like(c, torch.inf)
        for step in range(self.steps):
            pull = torch.where(self._succeeds(at), 0, c)  # 0 where the hinge is flat
            grad = 2 * (x - x0) - finite((expand(pull, x) * finite(at.grad)).to(x))
            x = self.descend(memory, grad, x, x0, step)
            at = slope(x, rng.fold("step", step), step / self.steps)
            if callback is not None:
                callback(Step(number * self.steps + step, position, x, *at))
            fools = self._succeeds(at)
            closest.offer(x, fools, position)
            success[active] |= fools
            worth = closest.improvable(self.threat, self.early_stop)[position]
            if self.abort_early:
                hinge = (self.confidence - at.value).clamp(min=0)
                lowest = torch.minimum(lowest, self.distortion(x - x0) + c * hinge)
                if (step + 1) % max(self.steps // 10, 1) == 0:
                    worth &= lowest < 0.9999 * checked
                    checked = lowest
            (keep,) = torch.nonzero(worth, as_tuple=True)
            if not len(keep):
                break
            if len(keep) < len(active):
                active, position, x, x0 = active[keep], position[keep], x[keep], x0[keep]
                c, lowest, checked = c[keep], lowest[keep], checked[keep]
                at, memory = Slope(*(part[keep] for part in at)), memory.take(keep)
                score, rng = score.take(keep), rng.take(keep)
                slope = self.gradient(score)
        return success

    def _succeeds(self, at: Slope) -> Flags:
        """Whether the aim is reached at this very point, and by ``confidence``."""
        return at.reached & (at.value >= self.confidence) if self.confidence else at.reached
