"""AdamPGD: PGD along Adam's direction."""

from dataclasses import dataclass, replace

from holdfast.attacks.engine.active import Tree
from holdfast.attacks.engine.adam import adam
from holdfast.attacks.engine.ascent import Ascent
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.pgd import PGD
from holdfast.tensors import unit
from holdfast.threat import finite
from holdfast.types import Images, Threat

__all__ = ["AdamPGD"]


@ATTACKS.named("adam-pgd")
@dataclass(frozen=True, kw_only=True)
class AdamPGD(PGD):
    """x ← Π(x + α · d / ‖d‖_p),  d = m̂ / (√v̂ + 1e-8), with the parameters of `PGD`.

    m̂ and v̂ are running means; a pixel whose gradient keeps its sign moves on, one that flips stays.

    When:
        Where the gradient's size differs much from pixel to pixel or from step to step.

    When not:
        Without a reason of that kind: `APGD` chooses its steps.

    Traps:
        Adam divides by the gradient's own size, so that a pixel whose slope is only noise moves as
        far as one that matters; in ℓ2 the direction is then no longer the steepest one. The step is
        fixed, as PGD's is.

    Reference:
        Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Example:
        >>> from holdfast import Linf, attacks
        >>> attacks.AdamPGD(Linf(0.3), steps=10)(model, x, y).shape == x.shape
        True
    """

    def ascent(self) -> Ascent:
        """PGD's, with a memory."""
        return replace(super().ascent(), direction=_AlongAdam())


@dataclass(frozen=True)
class _AlongAdam:
    def __call__(
        self, grad: Images, memory: Tree, threat: Threat, step: int
    ) -> tuple[Images, Tree]:
        # A confident model's gradient of 1e-30 has a direction all the same.
        direction, memory = adam(unit(finite(grad), 2), memory, step)
        return unit(direction, threat.p).to(grad.dtype), memory
