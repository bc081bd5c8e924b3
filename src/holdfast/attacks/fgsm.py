"""FGSM, and FGSM after a random step: attacks with one gradient (EAT 3.2 and 4.1).

They spend their one step on every image, also on one that the model already gets wrong, as the
formulas say.
"""

import math
from dataclasses import dataclass, field

from holdfast.attacks.engine.ascent import Ascent
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.preset import Preset
from holdfast.attacks.engine.roles import Length
from holdfast.attacks.engine.starts import RandomStep
from holdfast.errors import InputError
from holdfast.goals import cross_entropy
from holdfast.gradients import autograd
from holdfast.types import Goal, Gradient, Threat

__all__ = ["FGSM", "RFGSM"]


@ATTACKS.named("fgsm")
@dataclass(frozen=True, kw_only=True)
class FGSM(Preset):
    """Fast gradient sign method: x + ε · sign(∇L(x, y)) (EAT equation 2).

    In ℓ2 the step is ε · g / ‖g‖₂, the fast gradient method.

    When:
        For single-step training, and for transfer.

    When not:
        For robust accuracy: networks trained on single steps mask their gradient, so that it fails
        where `RFGSM` and `PGD` do not (EAT 4).

    Traps:
        Against the true label inside training it leaks that label: accuracy on its examples may
        rise above the clean one; take `against_prediction`. Where the gradient is exactly 0 the
        image stays as it is, which looks like robustness.

    Attributes:
        threat: the ball; its ε is the step.
        goal: what to ascend.
        gradient: how to estimate its gradient.

    Reference:
        Goodfellow et al., "Explaining and harnessing adversarial examples", ICLR 2015.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> x_adv = FGSM(Linf(8 / 255))(model, x, y)
        >>> bool((x_adv - x).abs().max() <= 8 / 255)
        True
    """

    threat: Threat = field(kw_only=False)
    goal: Goal = cross_entropy
    gradient: Gradient = autograd

    def engine(self) -> Ascent:
        """One step of ε from the image."""
        return Ascent(
            threat=self.threat,
            steps=1,
            step_size=self.threat.eps,
            goal=self.goal,
            gradient=self.gradient,
            early_stop=False,
        )


@ATTACKS.named("r+fgsm")
@dataclass(frozen=True, kw_only=True)
class RFGSM(Preset):
    """R+FGSM: x' = x + α · sign(N(0, I)), then x' + (ε - α) · sign(∇L(x', y)) (EAT equation 7).

    Both steps are cut by [0, 1]; the total stays within ε.

    When:
        To see whether a network that was trained on single steps masks its gradient.

    When not:
        For a robust accuracy, as all single steps.

    Traps:
        Much hangs on α: EAT's code takes 0.05 of ε = 0.3 on MNIST, its text ε/2, and one network's
        error was 57 % under the first and 83 % under the second. Say which. What torchattacks calls
        RFGSM takes ten steps and is another attack.

    Attributes:
        threat: the ball of size ε.
        alpha: length of the random step, 0 <= α <= ε; ε/2 by default, as in the paper.
        goal: what to ascend.
        gradient: how to estimate its gradient.

    Raises:
        InputError: if alpha lies outside [0, ε].

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, equation 7.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import RFGSM
        >>> x_adv = RFGSM(Linf(0.3), alpha=0.15)(model, x, y, seed=0)
        >>> other = RFGSM(Linf(0.3), alpha=0.15)(model, x, y, seed=1)  # another random step
        >>> bool((x_adv == other).all())
        False
    """

    threat: Threat = field(kw_only=False)
    alpha: Length | None = None
    goal: Goal = cross_entropy
    gradient: Gradient = autograd

    def engine(self) -> Ascent:
        """One step of ε - α from a random one of α."""
        eps = self.threat.eps
        alpha = eps / 2 if self.alpha is None else self.alpha
        if not 0 <= alpha <= eps:
            raise InputError(
                f"alpha is {alpha}, but the random step of R+FGSM takes a part of eps = {eps}; "
                f"choose 0 <= alpha <= {eps}."
            )
        return Ascent(
            threat=self.threat,
            steps=1,
            step_size=eps if math.isinf(eps) else eps - alpha,  # which would be nan
            start=RandomStep(alpha),
            goal=self.goal,
            gradient=self.gradient,
            early_stop=False,
        )
