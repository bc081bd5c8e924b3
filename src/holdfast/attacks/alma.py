"""ALMA: an augmented Lagrangian, whose multiplier and penalty follow the attack as it goes.

    minimise  ‖δ‖_p + P(-value, ρ, μ)  by RMSProp with momentum, cut by the box
    P(v, ρ, μ) = μ v + μ ρ v² + ρ² v³ / 6  for v >= 0,  μ v / (1 - ρ v)  below 0   (the paper's P2)
    μ ← α μ + (1 - α) P'(-value, ρ, μ)                                   in every step
    ρ ← γ ρ  where nothing fools yet and the value grows by less than 1 - τ  in every M-th

Each image has its own multiplier, penalty and step size.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from holdfast.attacks.engine.directions import uphill
from holdfast.attacks.engine.minimum_norm import MinimumNorm, Points
from holdfast.attacks.engine.names import ATTACKS
from holdfast.errors import InputError
from holdfast.goals import dlr
from holdfast.tensors import expand, norm, unit
from holdfast.threat import finite
from holdfast.types import Flags, Goal, Images, PerExample, Threat

__all__ = ["ALMA"]

#: γ, τ and M.
_GROWTH, _ENOUGH, _EVERY = 1.2, 0.95, 10

#: Within which the multiplier stays.
_LEAST, _MOST = 1e-6, 1e12

#: What is left of η after the last step.
_LAST_STEP = 0.01

#: How far beyond the boundary is meant to be reached, in units of the goal's loss.
_BEYOND = 1e-4


@dataclass(eq=False)
class _Points(Points):
    """Each with its multiplier, its penalty and its own step."""

    mu: PerExample
    rho: PerExample
    checked: PerExample  # how far from the aim when ρ was last looked at
    eta: PerExample
    since: PerExample  # the step at which it first fooled, and the last one before
    square: Images  # RMSProp's
    momentum: Images


@ATTACKS.named("alma")
@dataclass(frozen=True, kw_only=True)
class ALMA(MinimumNorm[_Points]):
    """Augmented Lagrangian method for adversarial attacks: the closest fooling point in ℓ1 or ℓ2.

    The paper minimises other distances in the same way (SSIM, CIEDE2000, LPIPS), which are no
    threats here.

    When:
        For ℓ1 and ℓ2 distances from hundreds of gradients.

    When not:
        With some 100 gradients in ℓ2, `DDN`; where one attack may go astray, `Nearest`.

    Traps:
        Its penalty is in the units of the goal, so that a margin of logits that are scaled up
        changes the result; the DLR loss, its default, does not, but with two classes it is that
        margin. Beside distances of others, name the steps: with few it stops far outside.

    Attributes:
        threat: an ℓ1 or ℓ2 ball; points beyond its eps, which may be infinite, do not count.
        steps: number of iterations, at least 1; each costs one gradient.
        step_size: ε, how far the first step goes in the threat's norm, above 0; from the first
            point that fools on, steps fall to a hundredth, geometrically.
        alpha: α in (0, 1), how slowly μ, RMSProp's mean and its momentum follow.
        goal: its value must be above 0 exactly where it is reached, and should not grow with the
            scale of the logits, as that of `goals.dlr` or
            ``goals.toward(target, losses.towards_dlr)``.
        gradient: how to estimate its gradient.
        early_stop: stop an image at the first point found within the threat's eps.

    Raises:
        InputError: if the threat is neither ℓ1 nor ℓ2, or a parameter lies outside its range.

    Reference:
        Rony, Granger, Pedersoli and Ben Ayed, "Augmented Lagrangian adversarial attacks", ICCV
        2021, with the authors' numbers.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import ALMA
        >>> x_adv = ALMA(L2(float("inf")), steps=100)(model, x, y)
        >>> bool((model(x_adv).argmax(dim=1) != y).all())
        True
    """

    norms: ClassVar[tuple[str, ...]] = ("l2", "l1")  # whose distance has a gradient to descend

    steps: int = 1000
    alpha: float = 0.9
    goal: Goal = dlr

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha < 1:
            raise InputError(f"alpha is {self.alpha}, but must lie between 0 and 1.")

    def begin(self, at: Points) -> _Points:
        """μ = ρ = 1; see `MinimumNorm.begin`."""
        one, wide = torch.ones_like(at.nearest), torch.promote_types(at.x.dtype, torch.float32)
        return _Points(
            **at.known(),
            mu=one,
            rho=one,
            checked=one,
            eta=one,
            since=(self.steps + 1) * one,
            square=torch.ones_like(at.x, dtype=wide),
            momentum=torch.zeros_like(at.x, dtype=wide),
        )

    def advance(self, at: _Points, step: int) -> None:
        """Weigh anew, and descend; see `MinimumNorm.advance`."""
        self._weigh(at, step)
        push = _slope_of_penalty(_BEYOND - at.value, at.rho, at.mu)
        grad = -expand(push, at.square) * finite(at.grad).to(at.square)
        if step == 0:
            flat = norm(grad, 2) <= 1e-6
            uphill_ = uphill(at.grad, at.rng.fold("flat", step))
            grad = torch.where(expand(flat, grad), -uphill_.to(grad), grad)
            at.eta = _reach(at.x0, grad, self.threat, self.step_size).to(at.eta)
        else:
            delta = (at.x - at.x0).to(grad)
            grad = grad + (delta.sign() if self.threat.p == 1 else unit(delta, 2))
        since_found = (step - at.since).clamp(min=0) / (self.steps - at.since)
        eta = at.eta * _LAST_STEP**since_found
        at.square = self.alpha * at.square + (1 - self.alpha) * grad.square()
        at.momentum = self.alpha * at.momentum + grad / (at.square.sqrt() + 1e-8)
        at.x = (at.x - expand(eta, grad) * at.momentum).clamp(0, 1).to(at.x)

    def _weigh(self, at: _Points, step: int) -> None:
        """μ follows the slope of the penalty; ρ grows where that is not enough."""
        missing, found = _BEYOND - at.value, at.nearest.isfinite()
        if step == 0:
            at.checked = missing
        elif (step + 1) % _EVERY == 0:
            content: Flags = found | (missing < _ENOUGH * at.checked)
            at.rho = torch.where(content, at.rho, _GROWTH * at.rho)
            at.checked = missing
        if step:
            slope = _slope_of_penalty(missing, at.rho, at.mu)
            at.mu = (self.alpha * at.mu + (1 - self.alpha) * slope).clamp(_LEAST, _MOST)
        first = found & (at.since > self.steps)
        at.since = torch.where(first, step, at.since)


def _slope_of_penalty(v: PerExample, rho: PerExample, mu: PerExample) -> PerExample:
    """P'(v), by v."""
    above = mu + 2 * mu * rho * v + (rho * v).square() / 2
    below = mu / (1 - rho * v.clamp(max=0)).square()
    return torch.where(v >= 0, above, below)


def _reach(x0: Images, grad: Images, threat: Threat, length: float) -> PerExample:
    """The η with ‖clip(x0 - η grad) - x0‖_p = length, by bisection; no model is asked.

    Of an image of a few pixels the box may be shorter: half of the way to its corner, then.
    """
    corner = torch.where(grad > 0, 0, torch.where(grad < 0, 1, x0))
    aimed = (threat.distance(corner, x0) / 2).clamp(max=length)

    def falls_short(eta: PerExample) -> Flags:
        return threat.distance((x0 - expand(eta, grad) * grad).clamp(0, 1), x0) < aimed

    low = aimed / norm(grad, threat.p)  # if the box cut nothing
    high = 2 * low
    for _ in range(20):
        high = torch.where(falls_short(high), 2 * high, high)
    for _ in range(20):
        middle = (low + high) / 2
        short = falls_short(middle)
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (low + high) / 2
