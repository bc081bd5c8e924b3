"""Another goal with a penalty taken off, as R+PGD does."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from holdfast.errors import InputError
from holdfast.goals.logits import one_each
from holdfast.recorded import recorded
from holdfast.types import Goal, Images, Labels, Model, Positions, Score, Scored, TargetedGoal

__all__ = ["Minus", "Penalty", "ReconstructionError", "reconstruction_error"]

#: x (N, C, H, W) -> (N,), what an attacker pays for an image.
Penalty = Callable[[Images], Tensor]


@dataclass(frozen=True, eq=False)
class _Penalized:
    """Score of `Minus`."""

    score: Score
    weight: float
    penalty: Penalty

    def __call__(self, x: Images) -> Scored:
        value, reached = self.score(x)
        penalty = one_each(self.penalty(x), x, self.penalty)
        return Scored(value - self.weight * penalty.to(value.dtype), reached)

    def take(self, index: Positions) -> Score:
        return replace(self, score=self.score.take(index))


@dataclass(frozen=True)
class Minus(Goal):
    """Another goal minus a penalty on the image: L(x) - λ · penalty(x), reached as L is.

    With `reconstruction_error` this is R+PGD, or R with any attack that ascends a goal: it looks
    for a fooling point that the defence's denoiser leaves where it is.

    Attributes:
        goal: what the attacker wants.
        weight: λ, at least 0.
        penalty: (N, C, H, W) -> (N,), differentiable; each number depends on its own image alone.

    Raises:
        InputError: if the weight is not a number of at least 0.

    Reference:
        MALADE section 2.1.2, R regularization, after Frosst et al., "DARCCC: Detecting adversaries
        by reconstruction from class conditional capsules", 2018. Both name no weight; their plain
        sum of the two losses is λ = 1.

    Example:
        >>> from holdfast.goals import Minus, margin, reconstruction_error
        >>> penalty = reconstruction_error(lambda x: x)  # of a denoiser that changes nothing
        >>> with_penalty, plain = Minus(margin, 1.0, penalty)(model, x, y), margin(model, x, y)
        >>> bool((with_penalty(x).value == plain(x).value).all())
        True
    """

    goal: Goal | TargetedGoal
    weight: float
    penalty: Penalty

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise InputError(f"the weight is {self.weight}, but a penalty's is at least 0.")

    def __call__(self, model: Model, x0: Images, y: Labels, /, *target: Labels) -> Score:
        """The score of ``goal``, with its target if it takes one, minus the penalty."""
        return _Penalized(self.goal(model, x0, y, *target), self.weight, self.penalty)


@dataclass(frozen=True, repr=False)
class ReconstructionError:
    """‖r(x) - x‖², summed over all of C·H·W.

    Attributes:
        reconstruct: r, images -> images of the same shape, such as a denoising autoencoder in
            evaluation mode.

    Example:
        >>> from holdfast.goals import ReconstructionError
        >>> ReconstructionError(lambda x: x / 2)(torch.ones(1, 1, 2, 2))
        tensor([1.])
    """

    reconstruct: Callable[[Images], Images]

    def __call__(self, x: Images) -> Tensor:
        """(N,) the error of each image."""
        return (self.reconstruct(x) - x).flatten(1).square().sum(dim=1)

    def __repr__(self) -> str:
        return f"reconstruction_error({recorded(self.reconstruct)})"


def reconstruction_error(reconstruct: Callable[[Images], Images]) -> ReconstructionError:
    """The penalty ‖r(x) - x‖² of R+PGD (MALADE 2.1.2).

    Example:
        >>> from holdfast.goals import reconstruction_error
        >>> reconstruction_error(lambda x: x)(x)
        tensor([0., 0., 0., 0.])
    """
    return ReconstructionError(reconstruct)
