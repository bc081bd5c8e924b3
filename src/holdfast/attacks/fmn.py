"""FMN: the closest fooling point in ℓ∞, ℓ2 or ℓ1, from few gradients."""

import math
from dataclasses import dataclass, field

import torch

from holdfast.attacks.attack import Attack
from holdfast.attacks.closest import Closest
from holdfast.attacks.directions import uphill
from holdfast.attacks.schedules import annealed
from holdfast.errors import InputError
from holdfast.goals import margin
from holdfast.gradients import autograd
from holdfast.random import Stream, drawing_from
from holdfast.tensors import norm
from holdfast.threat import finite, project_each
from holdfast.types import Callback, Goal, Gradient, Images, Labels, Model, Step, Threat


@dataclass(frozen=True, kw_only=True)
class FMN(Attack):
    """Fast minimum norm: gradient steps in a ball that shrinks as long as the image fools.

        ρ ← (1 + γ₀) (‖δ‖_p + |value| / ‖g‖_q)   until a point fools: past the linearised boundary
        ρ ← min((1 - γ) ρ, ‖δ*‖_p)               if the last point fooled, δ* being the closest
        ρ ← (1 + γ) ρ                            otherwise
        δ ← Π_ρ(δ + α · g / ‖g‖₂)

    with 1/p + 1/q = 1, γ₀ the first γ, and Π_ρ the projection onto the ball of size ρ cut by the
    box. The closest fooling point on the way is returned.

    Attributes:
        threat: an ℓ∞, ℓ2 or ℓ1 ball; ρ never exceeds its eps, which may be infinite.
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
        NeurIPS 2021, algorithm 1. Differs from the paper in that ρ stays within eps and within the
        box; that it goes past the linearised boundary, by 1 + γ₀, since ρ set on it may draw nearer
        for ever and never cross; and that in ℓ1 the projection onto the ball and the box together
        is exact. Where the gradient is 0 the step is random.
    """

    threat: Threat = field(kw_only=False)
    steps: int = 100
    step_size: float = 1.0
    gamma: float = 0.05
    goal: Goal = margin
    gradient: Gradient = autograd
    early_stop: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps is {self.steps}, but an attack takes at least 1 step.")
        if not 0 < self.step_size < math.inf:
            raise InputError(f"step_size is {self.step_size}, but must be above 0.")
        if not 0 < self.gamma < 1:
            raise InputError(f"gamma is {self.gamma}, but must lie between 0 and 1.")

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Let ball and perturbation follow each other; see `Attack.perturb`."""
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        p = self.threat.p
        dual = {math.inf: 1.0, 2.0: 2.0, 1.0: math.inf}[p]
        slope, closest, x = self.gradient(score), Closest(x0, self.threat), x0
        active = torch.arange(len(x0), device=x0.device)
        farthest = norm(torch.maximum(x0, 1 - x0), p).clamp(max=self.threat.eps)
        radius = torch.full_like(farthest, torch.inf)
        for step in range(self.steps):
            value, grad, reached = slope(x, rng.fold("step", step), step / self.steps)
            if callback is not None:
                callback(Step(step, active, x, value, grad, reached))
            closest.offer(x, reached, active)
            (keep,) = torch.nonzero(closest.improvable(active, self.early_stop), as_tuple=True)
            if not len(keep):
                break
            if len(keep) < len(active):
                x, x0, value, grad = x[keep], x0[keep], value[keep], grad[keep]
                reached, active = reached[keep], active[keep]
                radius, farthest = radius[keep], farthest[keep]
                score, rng = score.take(keep), rng.take(keep)
                slope = self.gradient(score)
            gamma = annealed(self.gamma, 0.001, step, self.steps)
            alpha = annealed(self.step_size, self.step_size / 100, step, self.steps)
            boundary = norm(x - x0, p) + finite(value.abs() / norm(grad, dual))  # lines 5 to 12
            beyond = boundary * (1 + self.gamma)
            missed = torch.where(closest.found[active], radius * (1 + gamma), beyond)
            hit = torch.minimum(radius * (1 - gamma), closest.distance[active])
            radius = torch.minimum(torch.where(reached, hit, missed), farthest)
            x = x + alpha * uphill(grad, rng.fold("flat", step))  # lines 13 to 15
            x = self.threat.project(project_each(x, x0, p, radius), x0)
        return closest.image
