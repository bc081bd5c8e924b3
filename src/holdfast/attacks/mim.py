"""MIM: I-FGSM along the accumulated gradient."""

from dataclasses import dataclass, replace

from holdfast.attacks.engine.ascent import Ascent
from holdfast.attacks.engine.directions import Momentum
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.ifgsm import IFGSM

__all__ = ["MIM"]


@ATTACKS.named("mim")
@dataclass(frozen=True, kw_only=True)
class MIM(IFGSM):
    """Momentum iterative method: I-FGSM along v ← μ · v + g / ‖g‖₁.

    It has the parameters of `IFGSM`, and one more.

    When:
        For transfer: momentum follows what the steps have in common, which is less the source's
        own.

    When not:
        On the model itself with many steps: `APGD`.

    Traps:
        The gradient is divided by its ℓ1 norm before it is added, and a sign is taken of the sum
        alone; foolbox adds signs, which is another attack. With a decay of 1 nothing is forgotten:
        the first gradient weighs as much as the last.

    Attributes:
        decay: μ of the momentum; 1 in the paper.

    Reference:
        Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018, algorithm 1.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import MIM
        >>> x_adv = MIM(Linf(0.3), steps=5, decay=1.0)(model, x, y)
        >>> bool((x_adv - x).abs().max() <= 0.3)
        True
    """

    decay: float = 1.0

    def engine(self) -> Ascent:
        """I-FGSM with a memory."""
        return replace(super().engine(), direction=Momentum(self.decay))
