"""S-O, the second-order attack: PGD along gradients beside the image (SO equations 3 and 4)."""

import math
from dataclasses import dataclass, field

from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.preset import Preset
from holdfast.attacks.engine.roles import EarlyStop, Length, Votes
from holdfast.attacks.pgd import PGD
from holdfast.errors import InputError
from holdfast.goals import cross_entropy
from holdfast.gradients import Average, UnitDraw, autograd
from holdfast.types import Goal, Gradient, Threat

__all__ = ["SecondOrder", "SecondOrderUnitDraw", "falling_sigma"]


@ATTACKS.named("second-order")
@dataclass(frozen=True, kw_only=True)
class SecondOrder(Preset):
    """Second-order attack, S-O: PGD along the gradient averaged over noise (SO equation 4).

        g = E_{d ~ N(0, σ² I)} ∇L(x + d, y),  x ← Π(x + α · g / ‖g‖₂), or sign(g) in ℓ∞.

    Where adversarial training has flattened the loss around the image the gradient there says
    nothing; that of the loss blurred by noise reaches further. It is a first-order quantity: in the
    mean over d the Hessian's part cancels, and what the paper derives (appendix A) is the single
    draw of equation 3, `SecondOrderUnitDraw`. σ belongs to the attack, not to the defence.

    On a classifier that adds noise itself both are there, and their variances add. What the paper
    runs on such a one (sections 3 and 6.2, "S-O is equivalent to EOT") is the mean over the
    defence's noise alone: that is `PGD` as `adaptive` runs it there.

    What S-O finds hangs on σ, which the paper does not name: noise too small leaves the gradient
    flat, noise too large blurs the boundary. The default is our own rule, `falling_sigma`: σ falls
    geometrically from 0.3 to 0.05 over the steps, so that the attack finds its way at large σ and
    finishes at small; in small ℓ2 balls it begins lower. On adversarially trained networks it was
    as strong as the best fixed σ or stronger, on plain ones within 2 points of it
    (docs/results/second-order-attack-and-certifiable-robustness/sigma.md). The paper's attack is
    ``sigma=0.15``, or another number.

    When:
        On adversarially trained networks, above all in ℓ2, where it breaks images that AutoAttack
        leaves (docs/results/attack-strength.md).

    When not:
        On plain networks, where `APGD` finds as much for less. On a classifier that adds noise of
        its own, what the paper runs is `PGD` as `adaptive` runs it there.

    Traps:
        What it finds hangs on σ, which is the attack's and not the defence's, and which the paper
        does not name. The Hessian's part cancels in the mean, so that it is a first-order attack on
        a blurred loss: its name is not what it does. Each step costs ``samples`` gradients, which
        count beside PGD's.

    Attributes:
        threat: the ball of size ε; ℓ2 in the paper's section 3, ℓ∞ in its appendix F.
        steps: number of steps.
        step_size: α; 2.5 · ε / steps by default.
        sigma: σ of the noise, on the [0, 1] scale, fixed or as (first, last); by default our rule.
        samples: number of draws for the mean, at least 1. The paper does not name it.
        restarts: runs, each on the images that the earlier ones left robust.
        random_start: begin at a uniform draw from the ball; the paper begins at the image.
        goal: what to ascend.
        early_stop: see `Ascent`.
        votes: see `Restarts`.

    Raises:
        InputError: if a sigma is not positive, or samples, steps or restarts is below 1.

    Reference:
        Li et al., "Second-order adversarial attack and certifiable robustness", 2019, equation 4,
        appendix F.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import SecondOrder
        >>> x_adv = SecondOrder(L2(1.0), steps=5, samples=4, sigma=0.15)(model, x, y, seed=0)
        >>> bool((L2(1.0).distance(x_adv, x) <= 1).all())
        True
    """

    threat: Threat = field(kw_only=False)
    steps: int = 40
    step_size: Length | None = None
    sigma: float | tuple[float, float] | None = None
    samples: int = 10
    restarts: int = 1
    random_start: bool = False
    goal: Goal = cross_entropy
    early_stop: EarlyStop = True
    votes: Votes = field(default=1, repr=False)

    def engine(self) -> Climb:
        """PGD with another gradient."""
        sigma = falling_sigma(self.threat) if self.sigma is None else self.sigma
        if not (isinstance(sigma, tuple) or sigma > 0):
            raise InputError(f"sigma is {sigma}, but the noise of S-O needs a positive sigma.")
        return PGD(
            self.threat,
            steps=self.steps,
            step_size=self.step_size,
            restarts=self.restarts,
            random_start=self.random_start,
            goal=self.goal,
            gradient=Average(samples=self.samples, noise=sigma),
            early_stop=self.early_stop,
            votes=self.votes,
        )


@ATTACKS.named("second-order-unit-draw")
@dataclass(frozen=True, kw_only=True)
class SecondOrderUnitDraw(Preset):
    """Second-order attack by a single draw: PGD along the gradient at x + ξ d (SO equation 3).

        g = ∇L(x + ξ d, y),  d = z / ‖z‖₂, z ~ N(0, I),  x ← Π(x + α · g / ‖g‖₂), or sign(g) in ℓ∞,

    with a fresh d at every step. Where the gradient at x vanishes, g is one step of power iteration
    towards the leading eigenvector of the Hessian; elsewhere the gradient at x dominates, and the
    attack is PGD with a jitter. `SecondOrder`, equation 4, averages over d, which cancels the
    Hessian's part: the two are different attacks.

    When:
        To see what the paper's equation 3 does by itself.

    When not:
        To break images: `SecondOrder`.

    Traps:
        Only where the gradient vanishes does the draw lean towards the Hessian's leading
        eigenvector; elsewhere it is PGD with a jitter. A ξ that is small beside float32's rounding
        of the gradient leaves only that rounding.

    Attributes:
        threat: the ball of size ε.
        steps: number of steps.
        step_size: α; 2.5 · ε / steps by default.
        xi: ξ > 0, the ℓ2 distance of the point. The paper does not name it.
        restarts: runs, each on the images that the earlier ones left robust.
        random_start: begin at a uniform draw from the ball; the paper begins at the image.
        goal: what to ascend.
        gradient: how to estimate the gradient at x + ξ d.
        early_stop: see `Ascent`.
        votes: see `Restarts`.

    Raises:
        InputError: if xi is not positive, or steps or restarts is below 1.

    Reference:
        Li et al., "Second-order adversarial attack and certifiable robustness", 2019, equation 3
        and appendix A.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import SecondOrderUnitDraw
        >>> x_adv = SecondOrderUnitDraw(L2(1.0), steps=5, xi=0.5)(model, x, y, seed=0)
        >>> bool((L2(1.0).distance(x_adv, x) <= 1).all())
        True
    """

    threat: Threat = field(kw_only=False)
    steps: int = 40
    step_size: Length | None = None
    xi: float = 0.1
    restarts: int = 1
    random_start: bool = False
    goal: Goal = cross_entropy
    gradient: Gradient = autograd
    early_stop: EarlyStop = True
    votes: Votes = field(default=1, repr=False)

    def engine(self) -> Climb:
        """PGD with another gradient."""
        return PGD(
            self.threat,
            steps=self.steps,
            step_size=self.step_size,
            restarts=self.restarts,
            random_start=self.random_start,
            goal=self.goal,
            gradient=UnitDraw(xi=self.xi, gradient=self.gradient),
            early_stop=self.early_stop,
            votes=self.votes,
        )


def falling_sigma(threat: Threat) -> tuple[float, float]:
    """First and last σ of S-O's noise by our rule: 0.3 · min(ε, 1) in ℓ2 and ℓ1, then 0.05.

    Noise that dwarfs the ball drowns whatever slope there is in it. A ball in ℓ∞ is wide in ℓ2 even
    where ε is small, and begins at 0.3.

    Example:
        >>> from holdfast import L2, Linf
        >>> from holdfast.attacks import falling_sigma
        >>> falling_sigma(Linf(0.1)), falling_sigma(L2(0.5))
        ((0.3, 0.05), (0.15, 0.05))
    """
    reach = 1.0 if threat.p == math.inf else min(threat.eps, 1.0)
    return max(0.3 * reach, 0.05), 0.05
