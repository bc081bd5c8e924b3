"""C&W: the closest fooling point in ℓ2, by Adam in a space where every point is an image."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch

from holdfast.attacks.engine.adam import Moments, adam
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.penalty_search import PenaltySearch
from holdfast.attacks.engine.roles import AbortEarly
from holdfast.tensors import norm
from holdfast.types import Images, PerExample, Slope

__all__ = ["CarliniWagner"]

#: How much of tanh's range (-1, 1) the pixels [0, 1] take up: a pixel at 0 or 1 has the slope
#: 1 - 0.9² = 0.19 of one in the middle. With the original's 0.999999 it has 2e-6, and Adam needs
#: hundreds of steps to move it at all.
EDGE = 0.9


@ATTACKS.named("carlini-wagner")
@dataclass(frozen=True, kw_only=True)
class CarliniWagner(PenaltySearch):
    """C&W in ℓ2: minimise the distance and a hinge on the score together, without a budget.

        minimise  ‖x - x0‖₂² + c · max(κ - value(x), 0)   over w,   x = (tanh(w) / EDGE + 1) / 2

    by Adam, for several c, each example by itself; the closest point that fools by κ is returned.
    Costs at most 1 + searches · steps gradients. With ``gradient=Average(samples, noise)``, the
    gradient of the second-order attack, this is the ℓ2 attack of STN section 6.2.

    When:
        To compare with published ℓ2 distances.

    When not:
        For the distance itself: `FMN`, which on the PGD-trained network of
        docs/results/attack-strength.md came nearer in an eighth of the passes.

    Traps:
        Few ``searches`` over c leave distances too large, and numbers of two settings do not
        compare. Foolbox returns a black image where it finds nothing, and counts it as fooling;
        torchattacks does not search for c, and cannot move a pixel at 0 or 1. Here an image for
        which nothing fools comes back unchanged.

    Attributes:
        threat: an ℓ2 ball; points beyond its eps, which may be infinite, do not count.
        steps: Adam's steps at each c, at least 1; 10,000 in the paper.
        searches: how many values of c are tried, at least 1.
        step_size: Adam's step in w, above 0.
        c: the first c of all images; by default each has its own, see below.
        confidence: κ >= 0, how far above 0 the value must come, in the units of the goal's loss.
        goal: its value must be above 0 exactly where it is reached, as that of `goals.margin` or
            ``goals.toward(target, losses.towards_margin)``.
        gradient: how to estimate its gradient.
        abort_early: leave a c when a tenth of the steps has not lowered an example's objective.
        early_stop: stop an image at the first point found within the threat's eps.

    Raises:
        InputError: if the threat is not ℓ2, or a parameter lies outside its range.

    Reference:
        Carlini and Wagner, "Towards evaluating the robustness of neural networks", S&P 2017,
        section VI.A. Differs from the paper in that tanh is stretched by 1 / EDGE and cut to the
        box, so that w stands for x0 exactly and pixels at 0 or 1 can move; that c begins at the
        value that is right for a linear score instead of at 0.001, and is searched for
        geometrically; and that the hinge pulls wherever the point itself does not succeed, which
        matters when the value is an average. An image that fools as it stands is returned as it is.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import CarliniWagner
        >>> closest = CarliniWagner(L2(float("inf")), steps=20, searches=3)
        >>> x_adv = closest(model, x, y)
        >>> bool((model(x_adv).argmax(dim=1) != y).all())
        True
    """

    finds_smallest: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    steps: int = 500
    abort_early: AbortEarly = True

    def first_c(self, first: Slope) -> PerExample:
        """2 (κ - v) / ‖g‖₂²: the smallest c that fools a linear score."""
        return 2 * (self.confidence - first.value) / norm(first.grad, 2).square()

    def distortion(self, delta: Images) -> PerExample:
        """‖δ‖₂²."""
        return norm(delta, 2).square()

    def begin(self, x0: Images) -> "_Iterate":
        """At the w that stands for the clean image."""
        # In 16 bits EDGE is 1 and the squares of gradients are 0.
        wide = x0.to(torch.promote_types(x0.dtype, torch.float32))
        w = torch.atanh(EDGE * (2 * wide - 1))
        return _Iterate(w, w, None)

    def descend(
        self, memory: "_Iterate", grad: Images, x: Images, x0: Images, step: int
    ) -> tuple["_Iterate", Images]:
        """A step of Adam in w."""
        slope = (1 - torch.tanh(memory.w).square()) / (2 * EDGE)  # dx/dw
        direction, moments = adam(grad * slope, memory.moments, step)
        w = memory.w - self.step_size * direction
        moved = (torch.tanh(w) - torch.tanh(memory.start)) / (2 * EDGE)
        return memory._replace(w=w, moments=moments), (x0 + moved).clamp(0, 1).to(x0.dtype)


class _Iterate(NamedTuple):
    start: Images  # the w that stands for the clean image
    w: Images
    moments: Moments | None  # Adam's
