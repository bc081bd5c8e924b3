"""EAD: fooling points that change few pixels, by proximal gradient steps on an elastic net."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch

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

#: (perturbation, β) -> (N,), the smaller the better: which of the fooling points is returned.
Rule: TypeAlias = Callable[[Images, float], PerExample]


@dataclass(frozen=True, repr=False)
class _L1:
    """The rule L1 of the paper: ‖δ‖₁."""

    def __call__(self, delta: Images, beta: float) -> PerExample:
        return norm(delta, 1)

    def __repr__(self) -> str:
        return "least_l1"


@dataclass(frozen=True, repr=False)
class _ElasticNet:
    """The rule EN of the paper: β ‖δ‖₁ + ‖δ‖₂²."""

    def __call__(self, delta: Images, beta: float) -> PerExample:
        return beta * norm(delta, 1) + norm(delta, 2).square()

    def __repr__(self) -> str:
        return "least_elastic_net"


least_l1 = _L1()
least_elastic_net = _ElasticNet()


@dataclass(frozen=True, kw_only=True)
class EAD(Attack):
    """Elastic-net attack: the closest fooling point in ℓ1, or in ℓ1 and squared ℓ2 together.

        minimise  β ‖x - x0‖₁ + ‖x - x0‖₂² + c · max(κ - value(x), 0)   over the box

    by FISTA, for several c, each example by itself: a step along the gradient of the last two
    terms, a shrinkage for the first, momentum. Costs at most 1 + searches · steps gradients.

    Attributes:
        threat: an ℓ1 ball; points beyond its eps, which may be infinite, do not count.
        steps: iterations at each c, at least 1.
        searches: how many values of c are tried, at least 1.
        step_size: α of the first iteration, above 0; it falls as √(1 - step / steps).
        beta: weight β >= 0 of the ℓ1 norm; the larger, the fewer pixels change.
        confidence: κ >= 0, how far above 0 the value must come, in the units of the goal's loss.
        rule: which of the fooling points is returned, `least_l1` or `least_elastic_net`; the
            distance that counts against the threat's eps is ℓ1 with either.
        goal: its value must be above 0 exactly where it is reached, as that of `goals.margin` or
            ``goals.toward(target, losses.towards_margin)``.
        gradient: how to estimate its gradient.
        early_stop: stop an image at the first point found within the threat's eps.

    Raises:
        InputError: if the threat is not ℓ1, or a parameter lies outside its range.

    Reference:
        Chen et al., "EAD: elastic-net attacks to deep neural networks via adversarial examples",
        AAAI 2018, equations 4 to 7; FISTA by Beck and Teboulle, 2009. Differs from the paper in
        that the shrinkage is α β, which minimises the objective above; the paper shrinks by β
        whatever α is, so that its β = 0.001 at α = 0.01 is 0.1 here. Points are judged where the
        gradient is taken, which saves every second forward pass, and are kept in the box; c begins
        at the value that moves one pixel of a linear score across. An image that fools as it stands
        is returned as it is.
    """

    threat: Threat = field(kw_only=False)
    steps: int = 100
    searches: int = 9
    step_size: float = 0.01
    beta: float = 4.0
    confidence: float = 0.0
    rule: Rule = least_l1
    goal: Goal = margin
    gradient: Gradient = autograd
    early_stop: bool = False

    def __post_init__(self) -> None:
        if self.threat.p != 1:
            raise InputError(f"the threat is {self.threat}, but EAD is defined in L1 only.")
        if self.steps < 1 or self.searches < 1:
            raise InputError(
                f"steps is {self.steps} and searches {self.searches}, but each is at least 1."
            )
        if not 0 < self.step_size < math.inf:
            raise InputError(f"step_size is {self.step_size}, but must be above 0.")
        if not (0 <= self.beta < math.inf and 0 <= self.confidence < math.inf):
            raise InputError(
                f"beta is {self.beta} and confidence {self.confidence}, but each is at least 0."
            )

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Search c, minimising at each; see `Attack.perturb`."""
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        closest = Closest(x0, self.threat, lambda x, x0: self.rule(x - x0, self.beta))
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
        """(β + 2 h) / ‖g‖∞ with h = (κ - v) / ‖g‖∞, how far one pixel must move a linear score."""
        largest = norm(first.grad, math.inf)
        return (self.beta + 2 * (self.confidence - first.value) / largest) / largest

    def _minimize(self, task: Task, closest: Closest, callback: Callback | None) -> Flags:
        """FISTA at one c; which examples came to a point that succeeds."""
        score, x0, c, at, rng, position, number = task
        success = torch.zeros_like(at.reached)
        active = torch.arange(len(x0), device=x0.device)
        slope, x, ahead = self.gradient(score), x0, x0  # x and ahead are the paper's x and y
        for step in range(self.steps):
            alpha = self.step_size * math.sqrt(1 - step / self.steps)
            pull = torch.where(succeeded(at, self.confidence), 0, c)  # 0 where the hinge is flat
            grad = 2 * (ahead - x0) - finite((expand(pull, x) * finite(at.grad)).to(x))
            before, x = x, _shrink(ahead - alpha * grad, x0, alpha * self.beta)  # equation 6
            ahead = (x + step / (step + 3) * (x - before)).clamp(0, 1)  # equation 7
            at = slope(ahead, rng.fold("step", step), step / self.steps)
            if callback is not None:
                callback(Step(number * self.steps + step, position, ahead, *at))
            fools = succeeded(at, self.confidence)
            closest.offer(ahead, fools, position)
            success[active] |= fools
            (keep,) = torch.nonzero(closest.improvable(position, self.early_stop), as_tuple=True)
            if not len(keep):
                break
            if len(keep) < len(active):
                active, position, c = active[keep], position[keep], c[keep]
                x, x0, ahead, at = x[keep], x0[keep], ahead[keep], Slope(*(f[keep] for f in at))
                score, rng = score.take(keep), rng.take(keep)
                slope = self.gradient(score)
        return success


def _shrink(z: Images, x0: Images, threshold: float) -> Images:
    """Bring every pixel nearer to ``x0`` by ``threshold``, and into the box (equation 5)."""
    delta = z - x0
    return (x0 + delta.sign() * (delta.abs() - threshold).clamp(min=0)).clamp(0, 1)
