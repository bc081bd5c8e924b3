"""Attacks with one gradient: FGSM, Step-LL, and both after a random step (EAT 3.2 and 4.1).

Each is a setting of `Ascent`. They spend their one step on every image, also on one that the model
already gets wrong, as the formulas say.
"""

from holdfast.attacks.engine.ascent import Ascent
from holdfast.attacks.engine.starts import RandomStep
from holdfast.errors import InputError
from holdfast.goals import cross_entropy, toward_least_likely
from holdfast.types import Goal, Threat


def FGSM(threat: Threat, *, goal: Goal = cross_entropy) -> Ascent:
    """Fast gradient sign method: x + ε · sign(∇L(x, y)) (EAT equation 2).

    In ℓ2 the step is ε · g / ‖g‖₂, the fast gradient method.

    Args:
        threat: the ball; its ε is the step.
        goal: what to ascend.

    Reference:
        Goodfellow et al., "Explaining and harnessing adversarial examples", ICLR 2015.
    """
    return Ascent(threat=threat, steps=1, step_size=threat.eps, goal=goal, early_stop=False)


def StepLL(threat: Threat) -> Ascent:
    """Single-step least-likely class method: x - ε · sign(∇L(x, y_LL)) (EAT equation 3).

    y_LL = argmin of the logits on the clean image.

    Args:
        threat: the ball; its ε is the step.

    Reference:
        Kurakin et al., "Adversarial machine learning at scale", ICLR 2017.
    """
    return FGSM(threat, goal=toward_least_likely)


def RFGSM(threat: Threat, *, alpha: float | None = None, goal: Goal = cross_entropy) -> Ascent:
    """R+FGSM: x' = x + α · sign(N(0, I)), then x' + (ε - α) · sign(∇L(x', y)) (EAT equation 7).

    Both steps are cut by [0, 1]; the total stays within ε.

    Args:
        threat: the ball of size ε.
        alpha: length of the random step, 0 <= α <= ε; ε/2 by default, as in the paper.
        goal: what to ascend.

    Raises:
        InputError: if alpha lies outside [0, ε].

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, equation 7.
    """
    alpha = threat.eps / 2 if alpha is None else alpha
    if not 0 <= alpha <= threat.eps:
        raise InputError(
            f"alpha is {alpha}, but the random step of R+FGSM takes a part of eps = {threat.eps}; "
            f"choose 0 <= alpha <= {threat.eps}."
        )
    return Ascent(
        threat=threat,
        steps=1,
        step_size=threat.eps - alpha,
        start=RandomStep(alpha),
        goal=goal,
        early_stop=False,
    )


def RStepLL(threat: Threat, *, alpha: float | None = None) -> Ascent:
    """R+Step-LL: a random step of α, then Step-LL with ε - α (EAT section 4.1).

    Args:
        threat: the ball of size ε.
        alpha: length of the random step, 0 <= α <= ε; ε/2 by default, as in the paper.

    Raises:
        InputError: if alpha lies outside [0, ε].
    """
    return RFGSM(threat, alpha=alpha, goal=toward_least_likely)
