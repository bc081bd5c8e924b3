"""σ-zero: the fewest components that fool, by a smooth count of them and a threshold that adapts.

    ℓ̂₀(δ) = Σ δ² / (δ² + σ)                                              (equation 3)
    g = ∇ [max(-value, 0) + ℓ̂₀(δ) / d],  δ ← δ - η · Adam(g / ‖g‖∞),  cut by the box
    τ ← τ + t η if the last point fooled, else τ - t η
    δ ← δ where |δ| >= τ, else 0                                         (algorithm 1)

Each image has its own threshold τ.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from holdfast.attacks.engine.adam import Moments, adam
from holdfast.attacks.engine.minimum_norm import MinimumNorm, Points
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.schedules import annealed
from holdfast.errors import InputError
from holdfast.goals import margin
from holdfast.parameters import above_zero
from holdfast.tensors import expand, unit
from holdfast.threat import finite
from holdfast.types import Goal, Images, PerExample

__all__ = ["SigmaZero"]


@dataclass(eq=False)
class _Points(Points):
    """Each with its threshold."""

    tau: PerExample
    memory: Moments | None = None  # Adam's


@ATTACKS.named("sigma-zero")
@dataclass(frozen=True, kw_only=True)
class SigmaZero(MinimumNorm[_Points]):
    """σ-zero: the fooling point in which the fewest components change, from few gradients.

    When:
        For the fewest changed components.

    When not:
        In other norms, or for pixels rather than components: in ℓ0 a colour pixel has three.

    Traps:
        With a large σ small changes cost next to nothing in the smooth count, with a small one its
        gradient is steep. A median of few components is a coarse number: 8 for three attacks in
        docs/results/nearest.md, whose optimality is 0.943 to 0.996.

    Attributes:
        threat: an ℓ0 ball; points beyond its eps, which may be infinite, do not count.
        steps: number of iterations, at least 1; each costs one gradient.
        step_size: η at the first step, above 0; it falls to a tenth along half a cosine.
        sigma: σ above 0; the smaller, the closer is ℓ̂₀ to the count, and the steeper.
        threshold: τ at the first step, in [0, 1]: smaller changes are undone.
        threshold_step: t >= 0, by which τ follows, in units of η.
        goal: its value must be above 0 exactly where it is reached, as that of `goals.margin` or
            ``goals.toward(target, losses.towards_margin)``.
        gradient: how to estimate its gradient.
        early_stop: stop an image at the first point found within the threat's eps.

    Raises:
        InputError: if the threat is not ℓ0, or a parameter lies outside its range.

    Reference:
        Cinà et al., "σ-zero: gradient-based optimization of ℓ0-norm adversarial examples",
        ICLR 2025, algorithm 1, with Adam as in the authors' code.

    Example:
        >>> from holdfast import L0
        >>> from holdfast.attacks import SaltAndPepper, SigmaZero
        >>> threat = L0(float("inf"))
        >>> few = SigmaZero(threat, steps=100)(model, x, y)
        >>> some = SaltAndPepper(threat)(model, x, y)
        >>> bool((model(few).argmax(dim=1) != y).all())
        True
        >>> bool(threat.distance(few, x).mean() <= threat.distance(some, x).mean())
        True
    """

    norms: ClassVar[tuple[str, ...]] = ("l0",)

    steps: int = 1000
    sigma: float = 1e-3
    threshold: float = 0.3
    threshold_step: float = 0.01
    goal: Goal = margin

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threat.p != 0:
            raise InputError(
                f"SigmaZero is for l0, not {self.threat.name}: it looks for the fewest components; "
                "use FMN or FAB."
            )
        above_zero(sigma=self.sigma)
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold is {self.threshold}, but must lie between 0 and 1.")
        if not self.threshold_step >= 0:
            raise InputError(f"threshold_step is {self.threshold_step}, but must be at least 0.")

    def begin(self, at: Points) -> _Points:
        """τ = ``threshold``; see `MinimumNorm.begin`."""
        return _Points(**at.known(), tau=torch.full_like(at.nearest, self.threshold))

    def advance(self, at: _Points, step: int) -> None:
        """Descend, and undo what is small; see `MinimumNorm.advance`."""
        delta = at.x - at.x0
        hinge = torch.where(expand(at.reached, delta), 0, finite(at.grad))
        grad = self._slope_of_count(delta) - hinge
        direction, at.memory = adam(unit(grad, torch.inf), at.memory, step)
        eta = annealed(self.step_size, self.step_size / 10, max(step - 1, 0), self.steps)
        moved = (at.x - eta * direction).clamp(0, 1).to(at.x)
        eta = annealed(self.step_size, self.step_size / 10, step, self.steps)
        further = torch.where(at.reached, eta, -eta) * self.threshold_step
        at.tau = (at.tau + further).clamp(0, 1)
        small = (moved - at.x0).abs() < expand(at.tau, moved)
        at.x = torch.where(small, at.x0, moved)

    def _slope_of_count(self, delta: Images) -> Images:
        """∇ ℓ̂₀(δ) / d."""
        wide = delta.to(torch.promote_types(delta.dtype, torch.float32))
        slope = 2 * self.sigma * wide / (wide.square() + self.sigma).square()
        return (slope / delta[0].numel()).to(delta)
