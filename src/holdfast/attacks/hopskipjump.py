"""HopSkipJump: the gradient at the decision boundary, estimated from decisions alone."""

import math
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar

import torch

from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.boundary_search import (
    KEPT,
    Oracle,
    find_start,
    halvings,
    past_the_boundary,
    to_boundary,
    uniform_noise,
)
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.roles import EarlyStop
from holdfast.attacks.engine.starts import Start
from holdfast.checks import rounding_of
from holdfast.goals import margin
from holdfast.parameters import at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.tensors import expand, norm, unit
from holdfast.types import (
    Callback,
    Flags,
    Goal,
    Images,
    Labels,
    Model,
    PerExample,
    Positions,
    Step,
    Threat,
)

__all__ = ["HopSkipJump"]

_AT_ONCE = 1024  # probes in one forward pass
_AT_ONCE_ON_CPU = 512  # where memory for more may come from the system anew, in each layer


@ATTACKS.named("hopskipjump")
@dataclass(frozen=True, kw_only=True)
class HopSkipJump(Attack):
    """Walk along the decision boundary against its normal, seeing only whether the goal is reached.

    From a point x_t on the boundary, at distance D_t from the clean image, every iteration

        v_t ← steepest( Σ_b (φ_b - mean φ) u_b ),  φ_b = ±1 at x_t + δ_t u_b       (equation 16)
        x̃_t ← x_t + D_t / √t · 2^-k · v_t, the first k = 0, 1, ... that reaches the goal
        x_{t+1} ← bisection between x̃_t and the clean image                    (algorithm 1)

    with B_t = B_0 √t directions u_b, uniform on the sphere. The closest point is moved past the
    boundary by a thousandth of its distance, `past_the_boundary`. An image for which no start
    reaches the goal is returned unchanged.

    When:
        Where the model answers with a class alone, with thousands of queries to spend.

    When not:
        With scores: `Square`. With gradients: anything else.

    Traps:
        The first start decides much, so that one seed is a draw and no minimum. Called by itself on
        a model that draws random numbers its bisection follows single answers; the evaluator has it
        ask for mean ones. A targeted goal needs a ``start`` that finds its class.

    Attributes:
        threat: ℓ2 or ℓ∞; the norm that is made small, and the largest distance that counts.
        queries: budget of forward passes for each image, at least 1, with those for the start.
        goal: only whether it is reached is used, so its loss plays no part. A targeted goal needs
            a ``start`` that finds its class, such as `Among`.
        start: where to begin; drawn afresh until the goal is reached.
        draws: starts that are tried, at least 1.
        evaluations: B_0, number of directions in the first iteration, at least 1; by default 100,
            as in the paper, but no more than an image has entries.
        early_stop: stop an image at the first point found within the threat's ``eps``.

    Raises:
        InputError: for another norm, or if a number is below 1.

    Reference:
        Chen, Jordan and Wainwright, "HopSkipJumpAttack: a query-efficient decision-based attack",
        S&P 2020, algorithm 2. Differs from the paper in that the last iteration uses what is left
        of the budget, the closest point of all is returned rather than the last, and that one moved
        past the boundary; in few dimensions or in rounding's reach δ_t and the bisection are
        bounded below and above.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import Among, HopSkipJump
        >>> from holdfast.goals import toward
        >>> others = torch.rand(64, 1, 8, 8)
        >>> target = int((y[0] + 1) % 3)
        >>> start = Among(others[model(others).argmax(dim=1) == target])
        >>> attack = HopSkipJump(Linf(1.0), queries=300, goal=toward(target), start=start)
        >>> int(model(attack(model, x[:1], y[:1], seed=0)).argmax()) == target
        True
    """

    follows_gradients: ClassVar[bool] = False
    finds_smallest: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    threat: Threat = field(kw_only=False)
    queries: int = 5000
    goal: Goal = margin
    start: Start = uniform_noise
    draws: int = 100
    evaluations: int | None = None
    early_stop: EarlyStop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(queries=self.queries, draws=self.draws, evaluations=self.evaluations)

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Find a start, then walk until the budget is spent; see `Attack.perturb`."""
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        oracle = Oracle(score, x0, self.threat, queries=self.queries, early_stop=self.early_stop)
        x, found = find_start(oracle, x0, self.start, self.draws, self.threat, rng)
        (moved,) = torch.nonzero(found, as_tuple=True)
        reserve = 2 + halvings(x0, self.threat) + KEPT  # two strides, the bisection, the end
        first = self.evaluations or min(100, x0[0].numel())
        for step in count(1):
            to_boundary(oracle, x, x0, moved, self.threat, rng.fold("search", step))
            walking = found & oracle.open & (oracle.left > reserve)
            (position,) = torch.nonzero(walking, as_tuple=True)
            if not len(position):
                break
            here, stream = x[position], rng.fold("step", step).take(position)
            distance = self.threat.distance(here, x0[position]).to(x)
            if callback is not None:
                fooling = torch.ones_like(position, dtype=torch.bool)
                callback(Step(step - 1, position, here, -distance, None, fooling))
            most = math.ceil(first * math.sqrt(step))  # B_t = B_0 √t
            probes = (oracle.left[position] - reserve).clamp(max=most)
            way = norm(here - x0[position], 2)
            radius = _radius(distance, way, step, x0[0].numel(), rounding_of(model, x0))
            normal = _normal(oracle, here, radius, probes, position, stream)
            length = expand(distance / math.sqrt(step), here)
            stride = length * self.threat.steepest(normal)
            x[position], success = _stride(oracle, here, stride, position, stream)
            moved = position[success]
        return past_the_boundary(oracle, rng)


def _radius(
    distance: PerExample, way: PerExample, step: int, size: int, rounding: float
) -> PerExample:
    """δ_t = D_t / d, and 0.1 at first; never so small that rounding decides where the probes lie.

    But not beyond the clean image, at the length ``way`` in ℓ2, where 8 bits round so coarsely.
    """
    radius = torch.full_like(distance, 0.1) if step == 1 else distance / size
    return torch.maximum(radius, way.clamp(max=16 * rounding * math.sqrt(size)))


def _normal(
    oracle: Oracle,
    x: Images,
    radius: PerExample,
    probes: Positions,
    position: Positions,
    rng: Stream,
) -> Images:
    """Σ_b (φ_b - mean φ) u_b over as many ``probes`` as each image has (equation 16).

    Where all decisions agree the baseline is left out, else nothing would remain.
    """
    agreed, most = torch.zeros_like(radius), int(probes.max())
    plain, signed = torch.zeros_like(x), torch.zeros_like(x)
    together = _AT_ONCE_ON_CPU if x.device.type == "cpu" else _AT_ONCE
    at_once = max(1, together // len(x))
    for start in range(0, most, at_once):
        copies = rng.copies(start, min(start + at_once, most))
        every = torch.arange(len(x), device=x.device).repeat(len(copies) // len(x))
        noise = unit(copies.fold("noise").normal(x.shape[1:], x.dtype), 2)
        point = (x[every] + expand(radius[every], noise) * noise).clamp(0, 1)
        moved = (point - x[every]) / expand(radius[every], noise)  # u_b, as far as the box lets it
        (asked,) = torch.nonzero(copies.copy < probes[every], as_tuple=True)
        reached = oracle.probe(point[asked], position[every[asked]], copies.take(asked))
        decision = torch.zeros(len(every), dtype=x.dtype, device=x.device)
        decision[asked] = torch.where(reached, 1.0, -1.0).to(x)
        moved, decision = (t.unflatten(0, (-1, len(x))) for t in (moved, decision))
        agreed += decision.sum(dim=0)
        plain += torch.einsum("bn,bn...->n...", decision.abs(), moved)
        signed += torch.einsum("bn,bn...->n...", decision, moved)
    mean = agreed / probes
    return signed - expand(torch.where(mean.abs() < 1, mean, 0), x) * plain


def _stride(
    oracle: Oracle, x: Images, stride: Images, position: Positions, rng: Stream
) -> tuple[Images, Flags]:
    """Take the first of the stride, half of it, a quarter, ... that reaches the goal.

    Returns:
        (M, C, H, W) where each point is now, and (M,) whether it moved: a stride shorter than the
        probes' radius, about D / d, is not worth its query.
    """
    ahead, moved = x.clone(), torch.zeros_like(position, dtype=torch.bool)
    for halving in range(2 + math.ceil(math.log2(x[0].numel()))):
        (left,) = torch.nonzero(~moved & oracle.open[position], as_tuple=True)
        if not len(left):
            break
        candidate = (x[left] + stride[left] / 2**halving).clamp(0, 1)
        stream = rng.take(left).fold("stride", halving)
        moved[left] = oracle.ask(candidate, position[left], stream)
        ahead[left] = torch.where(expand(moved[left], candidate), candidate, x[left])
    return ahead, moved
