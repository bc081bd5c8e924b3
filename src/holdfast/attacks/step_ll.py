"""Step-LL, and Step-LL after a random step: towards the least likely class (EAT 3.2 and 4.1)."""

from dataclasses import dataclass

from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.fgsm import FGSM, RFGSM
from holdfast.goals import toward_least_likely
from holdfast.types import Goal

__all__ = ["RStepLL", "StepLL"]


@ATTACKS.named("step-ll")
@dataclass(frozen=True, kw_only=True)
class StepLL(FGSM):
    """Single-step least-likely class method: x - ε · sign(∇L(x, y_LL)) (EAT equation 3).

    y_LL = argmin of the logits on the clean image. It is `FGSM` with another goal, and has its
    parameters.

    When:
        Inside single-step adversarial training on many classes, where `FGSM` leaks labels; and to
        transfer.

    When not:
        For a robust accuracy.

    Traps:
        The class is the argmin on the clean image; on a model that draws random numbers it is that
        of a draw. What it leaves says little: it aims at the farthest class and not at the nearest
        error.

    Reference:
        Kurakin et al., "Adversarial machine learning at scale", ICLR 2017.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import StepLL
        >>> least_likely = model(x).argmin(dim=1, keepdim=True)
        >>> x_adv = StepLL(Linf(0.1))(model, x, y)
        >>> more = model(x_adv).softmax(dim=1) > model(x).softmax(dim=1)
        >>> bool(more.gather(1, least_likely).all())
        True
    """

    goal: Goal = toward_least_likely


@ATTACKS.named("r+step-ll")
@dataclass(frozen=True, kw_only=True)
class RStepLL(RFGSM):
    """R+Step-LL: a random step of α, then Step-LL with ε - α (EAT section 4.1).

        x' = x + α · sign(N(0, I)),  then x' - (ε - α) · sign(∇L(x', y_LL)).

    It is `RFGSM` with another goal, and has its parameters.

    When:
        To see whether a network trained on single steps masks its gradient: if so, the random step
        finds more than `StepLL`.

    When not:
        For a robust accuracy, as all single steps.

    Traps:
        α is part of the number, as `RFGSM`'s is. The least likely class is that at the clean image,
        not that behind the random step.

    Raises:
        InputError: if alpha lies outside [0, ε].

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, section 4.1.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import RStepLL
        >>> x_adv = RStepLL(Linf(0.3))(model, x, y, seed=0)
        >>> bool((x_adv - x).abs().max() <= 0.3)
        True
    """

    goal: Goal = toward_least_likely
