"""The boundary attack: a random walk along the decision boundary, towards the clean image."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.boundary_search import (
    Oracle,
    find_start,
    past_the_boundary,
    to_boundary,
    uniform_noise,
)
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.roles import EarlyStop
from holdfast.attacks.engine.starts import Start
from holdfast.errors import InputError
from holdfast.goals import margin
from holdfast.parameters import at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.tensors import expand, norm
from holdfast.types import Callback, Flags, Goal, Images, Labels, Model, PerExample, Step, Threat

__all__ = ["Boundary"]

_CHECK_EVERY = 10  # steps between queries on the sphere itself
_CONVERGED = 1e-7  # a step towards the image so small ends the walk


@ATTACKS.named("boundary")
@dataclass(frozen=True, kw_only=True)
class Boundary(Attack):
    """Walk at random along the decision boundary, seeing only whether the goal is reached.

    From a fooling point x at distance D from the clean image x0, every step tries

        s ← the sphere of radius D around x0, a step of length δ · D along it from x
        x' ← the same point at the distance (1 - ε) · D

    and moves to x' if it reaches the goal. Each image has a δ such that half of the points s reach
    the goal, and an ε such that 3 in 10 of the points x' do. The closest point is moved past the
    boundary by a thousandth of its distance, `past_the_boundary`. An image for which no start
    reaches the goal is returned unchanged.

    In ℓ∞ the sphere is the surface of a cube. A step along it takes a share δ of the entries to +D
    or -D, and one towards the image cuts what stands out of the smaller cube.

    When:
        Where the model answers with a class alone, and `HopSkipJump` is to be checked by another.

    When not:
        With scores or gradients at hand; nor for a smallest distance, which a distance found so is
        far above. `HopSkipJump` comes nearer from as many queries
        (docs/results/attack-strength.md).

    Traps:
        An image that no start fools comes back unchanged and counts as not fooled, so that few
        ``draws`` look like robustness. Called by itself on a model that draws random numbers it
        follows single answers; the evaluator has it ask for mean ones.

    Attributes:
        threat: ℓ2 or ℓ∞; the largest distance that counts is its ``eps``.
        queries: budget of forward passes for each image, at least 1, with those for the start.
        goal: only whether it is reached is used, so its loss plays no part. A targeted goal needs
            a ``start`` that finds its class, such as `Among`.
        start: where to begin; drawn afresh until the goal is reached.
        draws: starts that are tried, at least 1.
        orthogonal_step: the first δ, in (0, 1].
        source_step: the first ε, in (0, 0.5].
        early_stop: stop an image at the first point found within the threat's ``eps``.

    Raises:
        InputError: for another norm, or if a number is out of its range.

    Reference:
        Brendel, Rauber and Bethge, "Decision-based adversarial attacks: reliable attacks against
        black-box machine learning models", ICLR 2018, algorithm 1 and section 2.3. Differs from the
        paper in that the start is brought to the boundary by bisection, that the result is moved
        past it, that δ and ε move a little with every decision, by stochastic approximation of
        the wanted rates (windows of past decisions take a thousand queries to fill before anything
        adapts), that the normal noise has 256 values, and in ℓ∞, which the paper does not have.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import Boundary
        >>> walk = Boundary(L2(float("inf")), queries=60, draws=20)
        >>> x_adv = walk(model, x, y, seed=0)  # asks for decisions alone
        >>> x_adv.shape == x.shape
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
    orthogonal_step: float = 0.1
    source_step: float = 0.1
    early_stop: EarlyStop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(queries=self.queries, draws=self.draws)
        for name, most in (("orthogonal_step", 1.0), ("source_step", 0.5)):
            if not 0 < getattr(self, name) <= most:
                raise InputError(
                    f"{name} is {getattr(self, name)}, but must lie above 0 and be at most {most}."
                )

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Find a start, then walk until the budget is spent; see `Attack.perturb`."""
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        oracle = Oracle(score, x0, self.threat, queries=self.queries, early_stop=self.early_stop)
        x, found = find_start(oracle, x0, self.start, self.draws, self.threat, rng)
        (position,) = torch.nonzero(found, as_tuple=True)
        to_boundary(oracle, x, x0, position, self.threat, rng.fold("search"))
        # In float64 where the images are: hundreds of roundings up would show in the pixels.
        precise = torch.promote_types(x.dtype, torch.float32)
        orthogonal = x.new_full(x.shape[:1], self.orthogonal_step, dtype=precise)
        source = torch.full_like(orthogonal, self.source_step)
        euclidean = self.threat.p == 2
        propose = _on_sphere if euclidean else _on_cube
        # On a cube one pixel is the shortest step. Near a corner few of them lead on, so that ε
        # would fall to 0; below a pixel's share of the distance it gains nothing.
        least = 0.0 if euclidean else 0.1 / x[0].numel()
        at = _Walk(x, x0, orthogonal, source, rng)
        at.keep(found)
        for step in range(self.queries):
            at.keep(oracle.open[at.position] & (at.source > _CONVERGED))
            if not len(at):
                break
            stream = at.rng.fold("step", step)
            sphere, nearer = propose(at.x, at.x0, at.orthogonal, at.source, stream.fold("noise"))
            if step % _CHECK_EVERY == 0:
                reached = oracle.ask(sphere, at.position, stream.fold("sphere"))
                at.orthogonal = _adapt(at.orthogonal, reached, 1.0, 0.5, least=0.0, most=1.0)
            reached = oracle.ask(nearer, at.position, stream.fold("nearer"))
            at.source = _adapt(at.source, reached, 0.2, 0.3, least=least, most=0.5)
            if callback is not None:
                value = -self.threat.distance(nearer, at.x0)
                callback(Step(step, at.position, nearer, value, None, reached))
            at.x = torch.where(expand(reached, nearer), nearer, at.x)
        return past_the_boundary(oracle, rng)


@dataclass(eq=False)
class _Walk(Active):
    """The points that still walk, each with the lengths of its steps."""

    x: Images
    x0: Images
    orthogonal: PerExample  # δ
    source: PerExample  # ε
    rng: Stream


def _on_sphere(
    x: Images, x0: Images, orthogonal: PerExample, source: PerExample, rng: Stream
) -> tuple[Images, Images]:
    """A random point at the distance of ``x`` from ``x0``, and the same point nearer to ``x0``.

    The box may cut both; neither is then farther away than it should be.
    """
    away = x - x0
    distance = _length(away)
    axis = away / expand(distance, x)
    noise = rng.rough_normal(x.shape[1:], x.dtype)
    tangent = noise - expand((noise * axis).flatten(1).sum(dim=1), x) * axis
    # A step of δ · D along the tangent leaves the sphere by the factor √(1 + δ²).
    step = orthogonal.to(x) * distance / _length(tangent)
    away = (away + expand(step, x) * tangent) / expand((1 + orthogonal**2).sqrt().to(x), x)
    sphere = (x0 + away).clamp_(0, 1)
    away = sphere - x0
    shrunk = ((1 - source.to(x)) * distance / _length(away)).clamp_(max=1)
    return sphere, (x0 + expand(shrunk, x) * away).clamp_(0, 1)


def _length(x: Images) -> PerExample:
    """‖x‖₂, but no less than what one can divide by: an image of one pixel has no tangent."""
    return norm(x, 2).clamp_(min=math.sqrt(torch.finfo(x.dtype).tiny))


def _on_cube(
    x: Images, x0: Images, orthogonal: PerExample, source: PerExample, rng: Stream
) -> tuple[Images, Images]:
    """As `_on_sphere`, in ℓ∞: a share δ of the entries, at least one, goes to ±D at random."""
    distance = expand(norm(x - x0, math.inf), x)
    order = rng.fold("order").uniform(x.shape[1:], x.dtype)
    first = expand(order.flatten(1).amin(dim=1), x)
    chosen = order <= torch.maximum(expand(orthogonal, x).to(x), first)
    side = torch.where(rng.fold("side").uniform(x.shape[1:], x.dtype) < 0.5, -1, 1)
    sphere = torch.where(chosen, x0 + side * distance, x).clamp(0, 1)
    radius = (1 - expand(source, x).to(x)) * distance
    return sphere, torch.clamp(sphere, x0 - radius, x0 + radius).clamp(0, 1)


def _adapt(
    step: PerExample, reached: Flags, gain: float, wanted: float, *, least: float, most: float
) -> PerExample:
    """Lengthen a step that succeeds more often than ``wanted``, shorten one that does not."""
    return (step * torch.exp(gain * (reached.to(step) - wanted))).clamp(least, most)
