"""DDN: the direction of the perturbation by gradient steps, its norm by bisection as one goes."""

import math
from dataclasses import dataclass, field

import torch

from holdfast.attacks.attack import Attack
from holdfast.attacks.closest import Closest
from holdfast.attacks.directions import uphill
from holdfast.attacks.schedules import annealed
from holdfast.errors import InputError
from holdfast.goals import cross_entropy
from holdfast.gradients import autograd
from holdfast.random import Stream, drawing_from
from holdfast.tensors import expand, norm, unit
from holdfast.types import Callback, Goal, Gradient, Images, Labels, Model, Step, Threat


@dataclass(frozen=True, kw_only=True)
class DDN(Attack):
    """Decoupled direction and norm: the closest fooling point in ℓ2, from few gradients.

        δ ← δ + α · g / ‖g‖₂,   ρ ← (1 - γ) ρ if the last point fooled, else (1 + γ) ρ,
        x ← clip(x0 + ρ · δ / ‖δ‖₂)

    The image stays on a sphere whose radius ρ crosses the decision boundary back and forth; the
    closest fooling point on the way is returned.

    Attributes:
        threat: an ℓ2 ball; ρ never exceeds its eps, which may be infinite.
        steps: number of iterations, at least 1; each costs one gradient.
        gamma: γ in (0, 1), by how much the radius changes.
        initial_radius: ρ before the first step, above 0, on the scale where images lie in [0, 1].
        step_size: α at the first step, above 0; it falls to a hundredth along half a cosine.
        goal: what to ascend.
        gradient: how to estimate its gradient.
        early_stop: stop an image at the first point found within the threat's eps.

    Raises:
        InputError: if the threat is not ℓ2, or a parameter lies outside its range.

    Reference:
        Rony et al., "Decoupling direction and norm for efficient gradient-based L2 adversarial
        attacks and defenses", CVPR 2019, algorithm 1. Differs from the paper in that points are
        not rounded to 256 levels, and that ρ stays within eps and within the box. Where the
        gradient is 0 the step is random, as in the authors' code.
    """

    threat: Threat = field(kw_only=False)
    steps: int = 100
    gamma: float = 0.05
    initial_radius: float = 1.0
    step_size: float = 1.0
    goal: Goal = cross_entropy
    gradient: Gradient = autograd
    early_stop: bool = False

    def __post_init__(self) -> None:
        if self.threat.p != 2:
            raise InputError(f"the threat is {self.threat}, but DDN is defined in L2 only.")
        if self.steps < 1:
            raise InputError(f"steps is {self.steps}, but an attack takes at least 1 step.")
        if not 0 < self.gamma < 1:
            raise InputError(f"gamma is {self.gamma}, but must lie between 0 and 1.")
        if not 0 < self.initial_radius < math.inf:
            raise InputError(f"initial_radius is {self.initial_radius}, but must be above 0.")
        if not 0 < self.step_size < math.inf:
            raise InputError(f"step_size is {self.step_size}, but must be above 0.")

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Alternate direction and norm; see `Attack.perturb`."""
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        slope, closest, x = self.gradient(score), Closest(x0, self.threat), x0
        active = torch.arange(len(x0), device=x0.device)
        farthest = norm(torch.maximum(x0, 1 - x0), 2).clamp(max=self.threat.eps)
        radius = farthest.clamp(max=self.initial_radius)
        for step in range(self.steps):
            value, grad, reached = slope(x, rng.fold("step", step), step / self.steps)
            if callback is not None:
                callback(Step(step, active, x, value, grad, reached))
            closest.offer(x, reached, active)
            (keep,) = torch.nonzero(closest.improvable(active, self.early_stop), as_tuple=True)
            if not len(keep):
                break
            if len(keep) < len(active):
                x, x0, grad, reached = x[keep], x0[keep], grad[keep], reached[keep]
                radius, farthest, active = radius[keep], farthest[keep], active[keep]
                score, rng = score.take(keep), rng.take(keep)
                slope = self.gradient(score)
            alpha = annealed(self.step_size, self.step_size / 100, step, self.steps)
            delta = x - x0 + alpha * uphill(grad, rng.fold("flat", step))  # lines 5 to 7
            factor = torch.where(reached, 1 - self.gamma, 1 + self.gamma)  # lines 8 to 12
            radius = torch.minimum(radius * factor, farthest)
            x = self.threat.project(x0 + expand(radius, x) * unit(delta, 2), x0)  # lines 13 and 14
        return closest.image
