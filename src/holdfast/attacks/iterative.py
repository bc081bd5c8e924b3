"""Attacks with many gradients: I-FGSM, Iter-LL, PGD, MIM and the second-order attack S-O.

Each is a setting of `Ascent`.
"""

import math

from holdfast.attacks.engine.ascent import Ascent
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.directions import Momentum
from holdfast.attacks.engine.repeat import Restarts
from holdfast.attacks.engine.starts import at_image, in_ball
from holdfast.errors import InputError
from holdfast.goals import cross_entropy, toward_least_likely
from holdfast.gradients import Average, autograd
from holdfast.types import Goal, Gradient, Threat


def IFGSM(
    threat: Threat,
    *,
    steps: int = 10,
    step_size: float | None = None,
    goal: Goal = cross_entropy,
    early_stop: bool = True,
) -> Ascent:
    """I-FGSM: FGSM repeated from the clean image, each step projected to the ball (EAT 3.2).

    Args:
        threat: the ball of size ε.
        steps: number k of steps.
        step_size: α >= ε / k; ε / k by default.
        goal: what to ascend.
        early_stop: see `Ascent`.

    Reference:
        Kurakin et al., "Adversarial examples in the physical world", 2017.
    """
    return Ascent(
        threat=threat,
        steps=steps,
        step_size=threat.eps / max(steps, 1) if step_size is None else step_size,
        goal=goal,
        early_stop=early_stop,
    )


def IterLL(
    threat: Threat, *, steps: int = 10, step_size: float | None = None, early_stop: bool = True
) -> Ascent:
    """Iter-LL: Step-LL repeated, towards the least likely class on the clean image (EAT 3.2).

    With ``early_stop`` an image stops only when it reaches that class.

    Args:
        threat: the ball of size ε.
        steps: number k of steps.
        step_size: α >= ε / k; ε / k by default.
        early_stop: see `Ascent`.
    """
    return IFGSM(
        threat, steps=steps, step_size=step_size, goal=toward_least_likely, early_stop=early_stop
    )


def PGD(
    threat: Threat,
    *,
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    goal: Goal = cross_entropy,
    gradient: Gradient = autograd,
    early_stop: bool = True,
) -> Attack:
    """Projected gradient descent: x ← Π(x + α · steepest(∇L(x, y))) (SO equation 2).

    Args:
        threat: the ball of size ε; ℓ∞ steps by the sign, ℓ2 by the normalised gradient.
        steps: number of steps.
        step_size: α; 2.5 · ε / steps by default.
        restarts: runs from independent starts, each on the images that the earlier ones left
            standing.
        random_start: begin at a uniform draw from the ball rather than at the image.
        goal: what to ascend.
        gradient: how to estimate its gradient.
        early_stop: see `Ascent`.

    Raises:
        InputError: if steps or restarts is below 1.

    Reference:
        Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.
    """
    attack = Ascent(
        threat=threat,
        steps=steps,
        step_size=2.5 * threat.eps / max(steps, 1) if step_size is None else step_size,
        start=in_ball if random_start else at_image,
        goal=goal,
        gradient=gradient,
        early_stop=early_stop,
    )
    return attack if restarts == 1 else Restarts(attack=attack, count=restarts)


def MIM(
    threat: Threat,
    *,
    steps: int = 10,
    step_size: float | None = None,
    decay: float = 1.0,
    goal: Goal = cross_entropy,
    early_stop: bool = True,
) -> Ascent:
    """Momentum iterative method: I-FGSM along the accumulated gradient.

    Args:
        threat: the ball of size ε.
        steps: number k of steps.
        step_size: α; ε / k by default, as in the paper.
        decay: μ of the momentum.
        goal: what to ascend.
        early_stop: see `Ascent`.

    Reference:
        Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018, algorithm 1.
    """
    return Ascent(
        threat=threat,
        steps=steps,
        step_size=threat.eps / max(steps, 1) if step_size is None else step_size,
        goal=goal,
        direction=Momentum(decay),
        early_stop=early_stop,
    )


def SecondOrder(
    threat: Threat,
    *,
    steps: int = 40,
    step_size: float | None = None,
    sigma: float | tuple[float, float] | None = None,
    samples: int = 10,
    restarts: int = 1,
    random_start: bool = False,
    goal: Goal = cross_entropy,
    early_stop: bool = True,
) -> Attack:
    """Second-order attack, S-O: PGD along the gradient averaged over noise (SO equation 4).

        g = E_{d ~ N(0, σ² I)} ∇L(x + d, y),  x ← Π(x + α · g / ‖g‖₂), or sign(g) in ℓ∞.

    Where adversarial training has flattened the loss around the image the gradient there says
    nothing; the gradient at a random point nearby approximates the leading eigenvector of the
    Hessian (SO equation 3, appendix A). σ belongs to the attack, not to the defence.

    What S-O finds hangs on σ, which the paper does not name: noise too small leaves the gradient
    flat, noise too large blurs the boundary. The default is our own rule, `falling_sigma`: σ falls
    geometrically from 0.3 to 0.05 over the steps, so that the attack finds its way at large σ and
    finishes at small; in small ℓ2 balls it begins lower. On adversarially trained networks it was
    as strong as the best fixed σ or stronger, on plain ones within 2 points of it
    (docs/results/second-order.md). The paper's attack is ``sigma=0.15``, or another number.

    Args:
        threat: the ball of size ε; ℓ2 in the paper's section 3, ℓ∞ in its appendix F.
        steps: number of steps.
        step_size: α; 2.5 · ε / steps by default.
        sigma: σ of the noise, on the [0, 1] scale, fixed or as (first, last); by default our rule.
        samples: number of draws for the mean, at least 1. The paper does not name it.
        restarts: runs, each on the images that the earlier ones left standing.
        random_start: begin at a uniform draw from the ball; the paper begins at the image.
        goal: what to ascend.
        early_stop: see `Ascent`.

    Raises:
        InputError: if a sigma is not positive, or samples, steps or restarts is below 1.

    Reference:
        Li et al., "Second-order adversarial attack and certifiable robustness", 2019, equations 3
        and 4, appendices A and F.
    """
    if sigma is None:
        sigma = falling_sigma(threat)
    if not (isinstance(sigma, tuple) or sigma > 0):
        raise InputError(f"sigma is {sigma}, but the noise of S-O needs a positive sigma.")
    return PGD(
        threat,
        steps=steps,
        step_size=step_size,
        restarts=restarts,
        random_start=random_start,
        goal=goal,
        gradient=Average(samples=samples, noise=sigma),
        early_stop=early_stop,
    )


def falling_sigma(threat: Threat) -> tuple[float, float]:
    """First and last σ of S-O's noise by our rule: 0.3 · min(ε, 1) in ℓ2 and ℓ1, then 0.05.

    Noise that dwarfs the ball drowns whatever slope there is in it. A ball in ℓ∞ is wide in ℓ2 even
    where ε is small, and begins at 0.3.
    """
    reach = 1.0 if threat.p == math.inf else min(threat.eps, 1.0)
    return max(0.3 * reach, 0.05), 0.05
