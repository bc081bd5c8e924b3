"""I-FGSM and Iter-LL: small steps from the clean image (EAT 3.2)."""

from dataclasses import dataclass, field

from holdfast.attacks.engine.ascent import Ascent
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.preset import Preset
from holdfast.attacks.engine.roles import EarlyStop, Length
from holdfast.goals import cross_entropy, toward_least_likely
from holdfast.gradients import autograd
from holdfast.types import Goal, Gradient, Threat

__all__ = ["IFGSM", "IterLL"]


@ATTACKS.named("i-fgsm")
@dataclass(frozen=True, kw_only=True)
class IFGSM(Preset):
    """I-FGSM: FGSM repeated from the clean image, each step projected to the ball (EAT 3.2).

        x ← Π(x + α · steepest(∇L(x, y))), k times; in ℓ∞ the steepest direction is the sign.

    When:
        To compare with papers that use it.

    When not:
        For a number to report: it begins at the image, where a masked gradient stays masked. `APGD`
        or `WorstCase`.

    Traps:
        With α below ε / k the ball's surface is out of reach. EAT's errors are from 10 steps of ε /
        10. Inside an approximation ratio it needs ``early_stop=False``.

    Attributes:
        threat: the ball of size ε.
        steps: number k of steps.
        step_size: α >= ε / k; ε / k by default.
        goal: what to ascend.
        gradient: how to estimate its gradient.
        early_stop: see `Ascent`.

    Reference:
        Kurakin et al., "Adversarial examples in the physical world", 2017.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import IFGSM
        >>> x_adv = IFGSM(Linf(0.3), steps=5)(model, x, y)
        >>> bool((x_adv - x).abs().max() <= 0.3)
        True
    """

    threat: Threat = field(kw_only=False)
    steps: int = 10
    step_size: Length | None = None
    goal: Goal = cross_entropy
    gradient: Gradient = autograd
    early_stop: EarlyStop = True

    def engine(self) -> Ascent:
        """Steps of α from the image."""
        even = self.threat.eps / max(self.steps, 1)
        return Ascent(
            threat=self.threat,
            steps=self.steps,
            step_size=even if self.step_size is None else self.step_size,
            goal=self.goal,
            gradient=self.gradient,
            early_stop=self.early_stop,
        )


@ATTACKS.named("iter-ll")
@dataclass(frozen=True, kw_only=True)
class IterLL(IFGSM):
    """Iter-LL: Step-LL repeated, towards the least likely class on the clean image (EAT 3.2).

        x ← Π(x - α · steepest(∇L(x, y_LL))),  y_LL the argmin of the logits at x0.

    It is `IFGSM` with another goal, and has its parameters. With ``early_stop`` an image stops only
    when it reaches that class.

    When:
        To compare with papers on ImageNet that use it.

    When not:
        For how near an error is: the least likely class is far and hard to reach. `APGDT` or
        `MALT`.

    Traps:
        The class is the argmin on the clean image and stays it, whatever happens on the way. With
        ``early_stop`` an image goes on until it has that class, although it was misclassified long
        before.

    Reference:
        Kurakin, Goodfellow and Bengio, "Adversarial examples in the physical world", 2017; Tramèr
        et al., "Ensemble adversarial training", ICLR 2018, section 3.2.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import IterLL
        >>> least_likely = model(x).argmin(dim=1)
        >>> x_adv = IterLL(Linf(0.5), steps=10)(model, x, y)
        >>> bool((model(x_adv).argmax(dim=1) == least_likely).all())
        True
    """

    goal: Goal = toward_least_likely
