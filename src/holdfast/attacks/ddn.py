"""DDN: the direction of the perturbation by gradient steps, its norm by bisection as one goes."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from holdfast.attacks.engine.adaptive_radius import AdaptiveRadius, Points
from holdfast.attacks.engine.directions import uphill
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.schedules import annealed
from holdfast.errors import InputError
from holdfast.tensors import expand, unit
from holdfast.types import Images, PerExample

__all__ = ["DDN"]


@ATTACKS.named("ddn")
@dataclass(frozen=True, kw_only=True)
class DDN(AdaptiveRadius):
    """Decoupled direction and norm: the closest fooling point in ℓ2, from few gradients.

        δ ← δ + α · g / ‖g‖₂,   ρ ← (1 - γ) ρ if the last point fooled, else (1 + γ) ρ,
        x ← clip(x0 + ρ · δ / ‖δ‖₂)

    The image stays on a sphere whose radius ρ crosses the decision boundary back and forth; the
    closest fooling point on the way is returned.

    When:
        For ℓ2 distances from some 100 gradients.

    When not:
        In other norms: `FMN`. With thousands of passes others come nearer
        (docs/results/nearest.md).

    Traps:
        The radius begins at ``initial_radius`` and changes by a factor of 1 ± γ a step, so that few
        steps cannot reach a boundary that is far from it: beside a peer, begin equally.

    Attributes:
        threat: an ℓ2 ball; points beyond its eps, which may be infinite, do not count.
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
        not rounded to 256 levels, and that ρ stays within the box. Where the
        gradient is 0 the step is random, as in the authors' code.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import DDN
        >>> threat = L2(float("inf"))
        >>> x_adv = DDN(threat, steps=30)(model, x, y)
        >>> bool((model(x_adv).argmax(dim=1) != y).all())
        True
        >>> bool((threat.distance(x_adv, x) < 2).all())
        True
    """

    norms: ClassVar[tuple[str, ...]] = ("l2",)

    initial_radius: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.initial_radius < math.inf:
            raise InputError(f"initial_radius is {self.initial_radius}, but must be above 0.")

    def first_radius(self, farthest: PerExample) -> PerExample:
        """ρ = ``initial_radius``."""
        return farthest.clamp(max=self.initial_radius)

    def move(self, at: Points, step: int) -> tuple[Images, PerExample]:
        """Alternate direction and norm; see `AdaptiveRadius.move`."""
        alpha = annealed(self.step_size, self.step_size / 100, step, self.steps)
        delta = at.x - at.x0 + alpha * uphill(at.grad, at.rng.fold("flat", step))  # lines 5 to 7
        factor = torch.where(at.reached, 1 - self.gamma, 1 + self.gamma)  # lines 8 to 12
        radius = torch.minimum(at.radius * factor, at.farthest)
        x = at.x0 + expand(radius, delta) * unit(delta, 2)  # line 13
        return x.clamp(0, 1).to(at.x), radius  # line 14
