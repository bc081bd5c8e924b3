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

import torch

from holdfast.attacks.engine.active import Active, Tree
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.confirmation import confirmed
from holdfast.attacks.engine.roles import AbortEarly, EarlyStop
from holdfast.errors import InputError
from holdfast.goals import margin
from holdfast.gradients import autograd
from holdfast.parameters import above_zero, at_least_one
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
    Score,
    Slope,
    Step,
    Threat,
)

__all__ = ["PenaltySearch"]


@dataclass(frozen=True, kw_only=True)
class PenaltySearch(Attack):
    """Minimise at several c, and keep the best point that succeeds.

    A new attack of the kind writes `begin`, `descend`, `distortion` and `first_c`. It costs at
    most 1 + searches · steps gradients, and the last look of `confirmation`. An image that fools as
    it stands is returned as it is.

    Attributes:
        threat: the norm; points beyond its eps, which may be infinite, do not count.
        steps: iterations at each c, at least 1.
        searches: how many values of c are tried, at least 1.
        step_size: of the minimiser, above 0.
        c: the first c of all images, above 0; by default each has its own, that of `first_c`.
        confidence: κ >= 0, how far above 0 the value must come, in the units of the goal's loss.
        goal: its value must be above 0 exactly where it is reached, as that of `goals.margin` or
            ``goals.toward(target, losses.towards_margin)``.
        gradient: how to estimate its gradient.
        abort_early: leave a c when a tenth of the steps has not lowered an example's objective.
        early_stop: stop an image at the first point found within the threat's eps.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import PenaltySearch
        >>> class PlainDescent(PenaltySearch):
        ...     def begin(self, x0):
        ...         return None
        ...     def descend(self, memory, grad, x, x0, step):
        ...         return None, (x - self.step_size * grad).clamp(0, 1)
        ...     def distortion(self, delta):
        ...         return delta.flatten(1).square().sum(dim=1)
        ...     def first_c(self, first):
        ...         return torch.full_like(first.value, 10.0)
        >>> x_adv = PlainDescent(L2(float("inf")), steps=30, searches=2, step_size=0.1)(model, x, y)
        >>> bool((model(x_adv).argmax(dim=1) != y).all())
        True
    """

    threat: Threat = field(kw_only=False)
    steps: int = 100
    searches: int = 9
    step_size: float = 0.01
    c: float | None = None
    confidence: float = 0.0
    goal: Goal = margin
    gradient: Gradient = autograd
    abort_early: AbortEarly = False
    early_stop: EarlyStop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(steps=self.steps, searches=self.searches)
        above_zero(step_size=self.step_size, c=1.0 if self.c is None else self.c)
        if not 0 <= self.confidence < math.inf:
            raise InputError(f"confidence is {self.confidence}, but must be at least 0.")

    @abstractmethod
    def begin(self, x0: Images) -> Tree:
        """What the minimiser remembers before its first step, which is taken at the clean image."""

    @abstractmethod
    def descend(
        self, memory: Tree, grad: Images, x: Images, x0: Images, step: int
    ) -> tuple[Tree, Images]:
        """One step of the minimiser.

        Args:
            memory: what `begin`, or the step before, gave.
            grad: of ‖x - x0‖₂² and the weighted hinge, at ``x``.
            x: where the last gradient was taken.
            x0: clean images.
            step: counted from 0.

        Returns:
            What to remember, and where to take the next gradient: the points that count.
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
        if self.c is None:
            c = self.first_c(Slope(first.value.to(wide), first.grad.to(wide), first.reached))
            c = torch.where((c > 0) & c.isfinite(), c, 1)
        else:
            c = torch.full_like(first.value.to(wide), self.c)
        low, high = torch.zeros_like(c), torch.full_like(c, torch.inf)
        for number in range(self.searches):
            least, streams = torch.full_like(c, torch.inf), rng.fold("search", number)
            at = Descent(x0, x0, c, first, least, least, score, streams, self.begin(x0))
            at.keep(closest.improvable(self.threat, self.early_stop))
            if not len(at):
                break
            success = self.minimize(at, closest, number, callback)
            high = torch.where(success, c, high)
            low = torch.where(success, low, c)
            between = torch.where(low > 0, (low * high).sqrt(), c / 10)
            c = torch.where(high.isinf(), 10 * low, between)
        return confirmed(model, score, closest, self.threat, rng)

    def minimize(
        self, at: "Descent", closest: Closest, number: int, callback: Callback | None
    ) -> Flags:
        """Descend at one c; which examples of the batch came to a point that succeeds."""
        success = torch.zeros_like(closest.found)
        for step in range(self.steps):
            pull = torch.where(self._succeeds(at.slope), 0, at.c)  # 0 where the hinge is flat
            push = finite((expand(pull, at.x) * finite(at.slope.grad)).to(at.x))
            grad = 2 * (at.x - at.x0) - push
            at.memory, at.x = self.descend(at.memory, grad, at.x, at.x0, step)
            slope = self.gradient(at.score)
            at.slope = slope(at.x, at.rng.fold("step", step), step / self.steps)
            if callback is not None:
                callback(Step(number * self.steps + step, at.position, at.x, *at.slope))
            fools = self._succeeds(at.slope)
            closest.offer(at.x, fools, at.position)
            success[at.position] |= fools
            worth = closest.improvable(self.threat, self.early_stop)[at.position]
            if self.abort_early:
                hinge = (self.confidence - at.slope.value).clamp(min=0)
                objective = self.distortion(at.x - at.x0) + at.c * hinge
                at.lowest = torch.minimum(at.lowest, objective)
                if (step + 1) % max(self.steps // 10, 1) == 0:
                    worth &= at.lowest < 0.9999 * at.checked
                    at.checked = at.lowest
            at.keep(worth)
            if not len(at):
                break
        return success

    def _succeeds(self, at: Slope) -> Flags:
        """Whether the aim is reached at this very point, and by ``confidence``."""
        return at.reached & (at.value >= self.confidence) if self.confidence else at.reached


@dataclass(eq=False)
class Descent(Active):
    """One minimisation at fixed c."""

    x: Images
    x0: Images
    c: PerExample
    slope: Slope  # at x
    lowest: PerExample  # objective so far
    checked: PerExample  # the same when it was last looked at
    score: Score
    rng: Stream
    memory: Tree  # the minimiser's
