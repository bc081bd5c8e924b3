"""FMN: the closest fooling point in ℓ∞, ℓ2 or ℓ1, from few gradients."""

from dataclasses import dataclass

import torch

from holdfast.attacks.engine.adaptive_radius import AdaptiveRadius, Points
from holdfast.attacks.engine.directions import uphill
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.schedules import annealed
from holdfast.goals import margin
from holdfast.tensors import norm
from holdfast.threat import dual, finite
from holdfast.types import Goal, Images, PerExample

__all__ = ["FMN"]


@ATTACKS.named("fmn")
@dataclass(frozen=True, kw_only=True)
class FMN(AdaptiveRadius):
    """Fast minimum norm: gradient steps in a ball that shrinks as long as the image fools.

        ρ ← (1 + γ₀) (‖δ‖_p + |value| / ‖g‖_q)   until a point fools: past the linearised boundary
        ρ ← min((1 - γ) ρ, ‖δ*‖_p)               if the last point fooled, δ* being the closest
        ρ ← (1 + γ) ρ                            otherwise
        δ ← Π_ρ(δ + α · g / ‖g‖₂)

    with 1/p + 1/q = 1, γ₀ the first γ, and Π_ρ the projection onto the ball of size ρ cut by the
    box. The closest fooling point on the way is returned.

    When:
        For distances in ℓ∞, ℓ2 and ℓ1 from some 200 gradients.

    When not:
        Where one attack may go astray: `Nearest`; on half of the images it is at the best of all in
        ℓ1, and far from it on the others (docs/results/nearest.md).

    Traps:
        The goal must be above 0 exactly where it is reached, as the margin is; a cross-entropy has
        no such point. Where the gradient is 0 it steps at random, where `PGD` stays: a flat network
        is then fooled by luck or not at all.

    Attributes:
        threat: an ℓ∞, ℓ2 or ℓ1 ball; points beyond its eps, which may be infinite, do not
            count.
        steps: number of iterations, at least 1; each costs one gradient.
        step_size: α at the first step in ℓ2, above 0; it falls to a hundredth along half a cosine.
        gamma: γ at the first step, in (0, 1); it falls to 0.001 in the same way.
        goal: its value must be above 0 exactly where it is reached, as that of `goals.margin` or
            ``goals.toward(target, losses.towards_margin)``.
        gradient: how to estimate its gradient.
        early_stop: stop an image at the first point found within the threat's eps.

    Raises:
        InputError: if a parameter lies outside its range.

    Reference:
        Pintor et al., "Fast minimum-norm adversarial attacks through adaptive norm constraints",
        NeurIPS 2021, algorithm 1. Differs from the paper in that ρ stays within the box; that it
        goes past the linearised boundary, by 1 + γ₀, since ρ set on it may draw nearer for ever and
        never cross; and that in ℓ1 the projection onto the ball and the box together is exact.
        Where the gradient is 0 the step is random.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FMN
        >>> x_adv = FMN(Linf(float("inf")), steps=30)(model, x, y)
        >>> bool((model(x_adv).argmax(dim=1) != y).all())
        True
    """

    goal: Goal = margin

    def first_radius(self, farthest: PerExample) -> PerExample:
        """None until the linearised boundary says how far to go."""
        return torch.full_like(farthest, torch.inf)

    def move(self, at: Points, step: int) -> tuple[Images, PerExample]:
        """Let ball and perturbation follow each other; see `AdaptiveRadius.move`."""
        p = self.threat.p
        gamma = annealed(self.gamma, 0.001, step, self.steps)
        alpha = annealed(self.step_size, self.step_size / 100, step, self.steps)
        # lines 5 to 12
        boundary = norm(at.x - at.x0, p) + finite(at.value.abs() / norm(at.grad, dual(p)))
        beyond = boundary * (1 + self.gamma)
        missed = torch.where(at.nearest.isfinite(), at.radius * (1 + gamma), beyond)
        hit = torch.minimum(at.radius * (1 - gamma), at.nearest)
        radius = torch.minimum(torch.where(at.reached, hit, missed), at.farthest)
        x = at.x + alpha * uphill(at.grad, at.rng.fold("flat", step))  # lines 13 to 15
        return self.threat.project_each(x, at.x0, radius).to(at.x), radius
