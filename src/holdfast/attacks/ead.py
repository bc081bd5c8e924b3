"""EAD: fooling points that change few pixels, by proximal gradient steps on an elastic net."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.penalty_search import PenaltySearch
from holdfast.errors import InputError
from holdfast.tensors import norm
from holdfast.types import Images, PerExample, Slope

__all__ = ["EAD", "least_elastic_net", "least_l1"]

#: (perturbation, β) -> (N,), the smaller the better: which of the fooling points is returned.
Rule: TypeAlias = Callable[[Images, float], PerExample]


@dataclass(frozen=True, repr=False)
class _L1:
    """The rule L1 of the paper: ‖δ‖₁.

    Example:
        >>> from holdfast.attacks import least_l1
        >>> least_l1(torch.tensor([[3.0, -4.0]]), 0.1)
        tensor([7.])
    """

    def __call__(self, delta: Images, beta: float) -> PerExample:
        return norm(delta, 1)

    def __repr__(self) -> str:
        return "least_l1"


@dataclass(frozen=True, repr=False)
class _ElasticNet:
    """The rule EN of the paper: β ‖δ‖₁ + ‖δ‖₂².

    Example:
        >>> from holdfast.attacks import least_elastic_net
        >>> least_elastic_net(torch.tensor([[3.0, -4.0]]), 0.1)
        tensor([25.7000])
    """

    def __call__(self, delta: Images, beta: float) -> PerExample:
        return beta * norm(delta, 1) + norm(delta, 2).square()

    def __repr__(self) -> str:
        return "least_elastic_net"


least_l1 = _L1()
least_elastic_net = _ElasticNet()


@ATTACKS.named("ead")
@dataclass(frozen=True, kw_only=True)
class EAD(PenaltySearch):
    """Elastic-net attack: the closest fooling point in ℓ1, or in ℓ1 and squared ℓ2 together.

        minimise  β ‖x - x0‖₁ + ‖x - x0‖₂² + c · max(κ - value(x), 0)   over the box

    by FISTA, for several c, each example by itself: a step along the gradient of the last two
    terms, a shrinkage for the first, momentum. Costs at most 1 + searches · steps gradients.

    When:
        To compare with ℓ1 distances that EAD gave elsewhere.

    When not:
        For the shortest: `Nearest`, or `ALMA` (docs/results/nearest.md).

    Traps:
        Peers, and papers that used one, shrink by their β whatever α is: what they call β is
        ``shrinkage`` here. The two decision rules return different points; say which. Papers write
        ‖δ‖₂ without the square that the objective has.

    Attributes:
        threat: an ℓ1 ball; points beyond its eps, which may be infinite, do not count.
        steps: iterations at each c, at least 1.
        searches: how many values of c are tried, at least 1.
        step_size: α of the first iteration, above 0; it falls as √(1 - step / steps).
        beta: weight β >= 0 of the ℓ1 norm; the larger, the fewer pixels change.
        shrinkage: by how much each step brings every pixel back, at least 0; by default α β, which
            minimises the objective. As in the paper it is the same at every step, so that points
            become sparser as α falls.
        c: the first c of all images; by default each has its own, see below.
        confidence: κ >= 0, how far above 0 the value must come, in the units of the goal's loss.
        rule: which of the fooling points is returned, `least_l1` or `least_elastic_net`; the
            distance that counts against the threat's eps is ℓ1 with either.
        goal: its value must be above 0 exactly where it is reached, as that of `goals.margin` or
            ``goals.toward(target, losses.towards_margin)``.
        gradient: how to estimate its gradient.
        abort_early: leave a c when a tenth of the steps has not lowered an example's objective.
        early_stop: stop an image at the first point found within the threat's eps.

    Raises:
        InputError: if the threat is not ℓ1, or a parameter lies outside its range.

    Reference:
        Chen et al., "EAD: elastic-net attacks to deep neural networks via adversarial examples",
        AAAI 2018, equations 4 to 7; FISTA by Beck and Teboulle, 2009. Differs from the paper in
        that the shrinkage is α β unless it is given; the paper's is its β, 0.001. Points are scored
        where the gradient is taken, which saves every second forward pass, and are kept in the box;
        c begins at the value that moves one pixel of a linear score across. An image that fools as
        it stands is returned as it is.

    Example:
        >>> from holdfast import L1
        >>> from holdfast.attacks import EAD, least_elastic_net
        >>> attack = EAD(L1(float("inf")), steps=20, searches=2, beta=0.5, rule=least_elastic_net)
        >>> x_adv = attack(model, x, y)
        >>> bool(((x_adv != x).flatten(1).sum(dim=1) < 64).all())  # of 64 pixels
        True
    """

    norms: ClassVar[tuple[str, ...]] = ("l1",)

    beta: float = 4.0
    shrinkage: float | None = None
    rule: Rule = least_l1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta < math.inf:
            raise InputError(f"beta is {self.beta}, but must be at least 0.")
        if self.shrinkage is not None and not 0 <= self.shrinkage < math.inf:
            raise InputError(f"shrinkage is {self.shrinkage}, but must be at least 0.")

    def measure(self, x: Images, x0: Images) -> PerExample:
        """The rule's."""
        return self.rule(x - x0, self.beta)

    def first_c(self, first: Slope) -> PerExample:
        """(β + 2 h) / ‖g‖∞ with h = (κ - v) / ‖g‖∞, how far one pixel must move a linear score."""
        largest = norm(first.grad, math.inf)
        return (self.beta + 2 * (self.confidence - first.value) / largest) / largest

    def distortion(self, delta: Images) -> PerExample:
        """β ‖δ‖₁ + ‖δ‖₂²."""
        return least_elastic_net(delta, self.beta)

    def begin(self, x0: Images) -> Images:
        """FISTA's iterate, from which the momentum comes: the clean image."""
        return x0

    def descend(
        self, memory: Images, grad: Images, x: Images, x0: Images, step: int
    ) -> tuple[Images, Images]:
        """A step of FISTA; ``x`` is the paper's y, ``memory`` its x."""
        alpha = self.step_size * math.sqrt(1 - step / self.steps)
        by = alpha * self.beta if self.shrinkage is None else self.shrinkage
        iterate = _shrink(x - alpha * grad, x0, by)  # equation 6
        return iterate, (iterate + step / (step + 3) * (iterate - memory)).clamp(0, 1)  # equation 7


def _shrink(z: Images, x0: Images, threshold: float) -> Images:
    """Bring every pixel nearer to ``x0`` by ``threshold``, and into the box (equation 5)."""
    delta = z - x0
    return (x0 + delta.sign() * (delta.abs() - threshold).clamp(min=0)).clamp(0, 1)
