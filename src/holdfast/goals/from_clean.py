"""Leave the model's own answer on the clean image, whatever the label."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast import losses
from holdfast.goals.logits import logits_of, one_each
from holdfast.recorded import recorded
from holdfast.types import Goal, Images, Labels, Logits, Model, Positions, Score, Scored

__all__ = ["Divergence", "FromClean", "kl_from_clean"]

#: (logits, logits on the clean image) -> (N,), how far apart two answers are.
Divergence = Callable[[Logits, Logits], Tensor]


@dataclass(frozen=True, eq=False)
class _LeaveAnswer:
    """Score of `FromClean`."""

    model: Model
    divergence: Divergence
    clean: Logits

    def __call__(self, x: Images) -> Scored:
        logits = logits_of(self.model, x)
        reached = logits.argmax(dim=1) != self.clean.argmax(dim=1)
        value = one_each(self.divergence(logits, self.clean), logits, self.divergence)
        return Scored(value, reached)

    def take(self, index: Positions) -> Score:
        return replace(self, clean=self.clean[index])


@dataclass(frozen=True, repr=False)
class FromClean(Goal):
    """Leave the model's own answer on the clean image: D(f(x), f(x0)), f(x0) fixed when stated.

    The label plays no part. At x0 itself the gradient of a divergence is 0, so that an ascent must
    start beside it.

    Attributes:
        divergence: D, such as `losses.kl_divergence` or `losses.soft_cross_entropy`.

    Reference:
        Zhang et al., "Theoretically principled trade-off between robustness and accuracy", ICML
        2019, the inner maximisation of equation 5.

    Example:
        >>> from holdfast.goals import FromClean
        >>> from holdfast.losses import kl_divergence
        >>> score = FromClean(kl_divergence)(model, x, y)
        >>> bool((score(x).value.abs() < 1e-5).all())  # at the image itself
        True
    """

    divergence: Divergence

    def __call__(self, model: Model, x0: Images, y: Labels) -> Score:
        """The score of leaving the clean answer."""
        del y
        with torch.no_grad():
            return _LeaveAnswer(model, self.divergence, logits_of(model, x0))

    def __repr__(self) -> str:
        return f"from_clean[{recorded(self.divergence)}]"


kl_from_clean = FromClean(losses.kl_divergence)
