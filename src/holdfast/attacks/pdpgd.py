"""PDPGD: descend the distance and the misclassification at once, and ascend what weighs them.

    minimise over δ, and maximise over the weights λ₀ + λ₁ = 1 of its two terms:
        λ₀ ‖δ‖_p + λ₁ log(1 + exp(-value))
    δ ← prox(δ - η · Adam(∇ of the second term), cut by the box)
    log(λ₁ / λ₀) ← log(λ₁ / λ₀) + θ if the last point did not fool, - θ if it did

where prox is the nearest point, in the metric that Adam steps in, at which the first term is paid
for: the distance has no gradient of use where it is not smooth. A point that fools goes on to be
pushed inwards, though less and less.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.attacks.engine.adam import Moments, adam, steepness
from holdfast.attacks.engine.minimum_norm import MinimumNorm, Points
from holdfast.attacks.engine.names import ATTACKS
from holdfast.goals import margin
from holdfast.parameters import above_zero
from holdfast.tensors import expand, widest
from holdfast.threat import finite
from holdfast.types import Goal, PerExample

__all__ = ["PDPGD"]

#: What is left of η after the last step, and of θ.
_LAST_STEP, _LAST_DUAL_STEP = 0.01, 0.1

#: How slowly the weights in use follow those that are ascended: the share of the old.
_INERTIA = 0.9

#: Towards the proximal point.
_STEPS_IN_L1 = 5

#: λ₀ / λ₁ and λ₁ / λ₀ stay above it.
_LEAST_RATIO = 1e-6

_Rows = Float[Tensor, "n d"]


@dataclass(eq=False)
class _Points(Points):
    """Each with the weights of its two terms."""

    odds: PerExample  # log(λ₁ / λ₀)
    pull: PerExample  # the λ₀ in use
    memory: Moments | None = None  # Adam's


@ATTACKS.named("pdpgd")
@dataclass(frozen=True, kw_only=True)
class PDPGD(MinimumNorm[_Points]):
    """Primal-dual proximal gradient descent: the closest fooling point in ℓ0, ℓ1, ℓ2 or ℓ∞.

    When:
        For distances in any of the four norms from hundreds of gradients, as one of several
        attacks.

    When not:
        Alone, where the distance is the number: see `Nearest`, and docs/results/nearest.md for how
        near it comes.

    Traps:
        In ℓ0 it pays for Σ |δ|^⅔ and not for the count, so it stays behind `SigmaZero` there.
        ``ratio`` sets how soon a point fools, and short runs hang on it.

    Attributes:
        threat: a ball; points beyond its eps, which may be infinite, do not count.
        steps: number of iterations, at least 1; each costs one gradient.
        step_size: Adam's η at the first step, above 0; it falls to a hundredth, geometrically.
        dual_step: θ at the first step, above 0; it falls to a tenth, linearly.
        ratio: λ₀ / λ₁ at the first step, above 0: the smaller, the sooner does a point fool.
        goal: its value must be above 0 exactly where it is reached, as that of `goals.margin` or
            ``goals.toward(target, losses.towards_margin)``.
        gradient: how to estimate its gradient.
        early_stop: stop an image at the first point found within the threat's eps.

    Raises:
        InputError: if a parameter lies outside its range.

    Reference:
        Matyasko and Chau, "PDPGD: primal-dual proximal gradient descent adversarial attack", 2021,
        with the numbers of adversarial-library. Differs from it in that the proximal step is exact
        but in ℓ1, where theirs is five iterations towards it; and that ℓ2 has one too, theirs being
        smooth enough for a gradient.

    Example:
        >>> from holdfast import L1
        >>> from holdfast.attacks import PDPGD
        >>> x_adv = PDPGD(L1(float("inf")), steps=100)(model, x, y)
        >>> bool((model(x_adv).argmax(dim=1) != y).all())
        True
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0")

    steps: int = 500
    step_size: float = 0.1
    dual_step: float = 0.1
    ratio: float = 0.01
    goal: Goal = margin

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(dual_step=self.dual_step, ratio=self.ratio)

    def begin(self, at: Points) -> _Points:
        """The first weights; see `MinimumNorm.begin`."""
        odds = torch.full_like(at.nearest, -math.log(self.ratio))
        return _Points(**at.known(), odds=odds, pull=torch.sigmoid(-odds))

    def advance(self, at: _Points, step: int) -> None:
        """Descend, pay for the distance, weigh anew; see `MinimumNorm.advance`."""
        grad = -expand(torch.sigmoid(-at.value), at.grad) * finite(at.grad)  # of the second term
        direction, at.memory = adam(grad, at.memory, step)
        eta = self.step_size * _LAST_STEP ** (step / self.steps)
        moved = (at.x - eta * direction).clamp(0, 1) - at.x0
        price = eta / steepness(at.memory, step) * expand(at.pull / (1 - at.pull), moved)
        wide = widest(moved.device)
        paid = _PROXIMAL[self.threat.p](moved.to(wide).flatten(1), price.to(wide).flatten(1))
        at.x = (at.x0 + paid.view_as(moved)).clamp(0, 1).to(at.x)
        left = 1 - step / max(self.steps - 1, 1)
        theta = self.dual_step * (_LAST_DUAL_STEP + (1 - _LAST_DUAL_STEP) * left)
        most = -math.log(_LEAST_RATIO)
        at.odds = (at.odds + torch.where(at.reached, -theta, theta)).clamp(-most, most)
        at.pull = _INERTIA * at.pull + (1 - _INERTIA) * torch.sigmoid(-at.odds)


def _fewest(r: _Rows, price: _Rows) -> _Rows:
    """ℓ0, by Σ |z|^⅔ in its place, which tells an entry that is nearly worth its price from others.

    With z = t³ the slope of (z - |r|)² / 2 + price z^⅔ is 0 where t⁴ - |r| t + ⅔ price is. That is
    convex, so that Newton's method falls from t = |r|^⅓ to the largest root, if there is one.
    """
    size = r.abs()
    t = size.pow(1 / 3)
    for _ in range(8):
        t = t - (t.pow(4) - size * t + price * 2 / 3) / (4 * t.pow(3) - size)
    worth = (t.pow(3) - size).square() / 2 + price * t.square() < size.square() / 2
    return torch.where(worth, r.sign() * t.pow(3), 0)


def _shrunk(r: _Rows, price: _Rows) -> _Rows:
    """ℓ1: five steps towards every entry less its own price.

    Where the loss is flat, the price of an entry is high, and exact steps would take all of it
    back: on a robust network the point stays a tenth further away (docs/results/nearest.md).
    """
    least = price.amin(dim=1, keepdim=True)
    z = r
    for _ in range(_STEPS_IN_L1):
        z = z - least / price * (z - r)
        z = z.sign() * (z.abs() - least).clamp(min=0)
    return z


def _shortened(r: _Rows, price: _Rows) -> _Rows:
    """ℓ2: r / (1 + price / n), where n, the norm of what is left, solves Σ (r / (n + price))² = 1.

    By Newton's method on one over the root of that sum, which is concave and nearly straight: from
    n = 0 it climbs to the solution and never beyond (as in trust-region methods).
    """
    n = torch.zeros_like(r[:, :1])
    for _ in range(8):
        square = (r / (n + price)).square()
        total = square.sum(dim=1, keepdim=True)
        fall = (square / (n + price)).sum(dim=1, keepdim=True)
        n = n + ((total.sqrt() - 1) * total / fall).nan_to_num(0).clamp(min=0)
    return r * (n / (n + price))


def _flattened(r: _Rows, price: _Rows) -> _Rows:
    """ℓ∞: cut at the level where the parts cut off, each over its price, sum to 1.

    For the k largest entries alone the level would be (Σ r / price - 1) / Σ 1 / price; the largest
    of these is the one for all.
    """
    size, order = r.abs().sort(dim=1, descending=True)
    weight = 1 / price.gather(1, order)
    level = ((weight * size).cumsum(dim=1) - 1) / weight.cumsum(dim=1)
    top = level.amax(dim=1, keepdim=True).clamp(min=0)
    return torch.minimum(torch.maximum(r, -top), top)


#: (r, price) -> the z that minimises Σ (z - r)² / (2 price) + ‖z‖_p, in ℓ1 some way towards it.
_PROXIMAL: dict[float, Callable[[_Rows, _Rows], _Rows]] = {
    0.0: _fewest,
    1.0: _shrunk,
    2.0: _shortened,
    math.inf: _flattened,
}
