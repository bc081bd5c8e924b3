"""Reach another class, or leave the true one by way of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast import losses
from holdfast.checks import check_classes
from holdfast.errors import InputError, InputTypeError
from holdfast.goals.logits import logits_of, one_each
from holdfast.goals.untargeted import LeaveClass
from holdfast.recorded import recorded
from holdfast.types import (
    Goal,
    Images,
    Labels,
    Logits,
    Model,
    Positions,
    Score,
    Scored,
    TargetedGoal,
)

__all__ = [
    "LeaveToward",
    "Target",
    "TargetedLoss",
    "Toward",
    "leave_toward_dlr",
    "toward",
    "toward_least_likely",
]

#: (logits, labels, targets) -> (N,), larger is closer to the target.
TargetedLoss = Callable[[Logits, Labels, Labels], Tensor]

#: (model, x0, y) -> target classes (N,).
Target = Callable[[Model, Images, Labels], Labels]


@dataclass(eq=False)
class _ReachClass:
    """Score of a targeted goal: ascend ``loss`` until the prediction is ``target``."""

    model: Model
    loss: TargetedLoss
    y: Labels
    target: Labels
    classes: int = 0  # among which the targets were found to be, which a GPU is asked once

    def __call__(self, x: Images) -> Scored:
        logits = logits_of(self.model, x)
        if self.classes != logits.shape[1]:
            check_classes(self.target, logits.shape[1], "target")
            self.classes = logits.shape[1]
        value = one_each(self.loss(logits, self.y, self.target), logits, self.loss)
        return Scored(value, logits.argmax(dim=1) == self.target)

    def take(self, index: Positions) -> Score:
        return replace(self, y=self.y[index], target=self.target[index])


@dataclass(frozen=True, repr=False)
class Toward(Goal):
    """Reach the class that ``target`` chooses, by ascending a targeted ``loss``.

    Attributes:
        target: chooses the classes, once, from the clean images.
        loss: one of ``losses.towards_cross_entropy``, ``towards_margin``, ``towards_dlr``.
        name: how the goal is recorded.

    Example:
        >>> from holdfast.goals import Toward
        >>> from holdfast.losses import towards_margin
        >>> def runner_up(model, x0, y):
        ...     return model(x0).topk(2).indices[:, 1]
        >>> goal = Toward(runner_up, towards_margin, "toward_runner_up")
        >>> goal(model, x, y)(x).reached
        tensor([False, False, False, False])
    """

    target: Target
    loss: TargetedLoss
    name: str

    def __call__(self, model: Model, x0: Images, y: Labels) -> Score:
        """The score of reaching the target class."""
        return _ReachClass(model, self.loss, y, self.target(model, x0, y))

    def __repr__(self) -> str:
        return f"{self.name}[{recorded(self.loss)}]"


@dataclass(frozen=True, repr=False)
class LeaveToward(TargetedGoal):
    """Leave the class ``y`` by way of another: reached at any other class than ``y``.

    Attributes:
        loss: one of ``losses.towards_cross_entropy``, ``towards_margin``, ``towards_dlr``.

    Example:
        >>> from holdfast.goals import LeaveToward
        >>> from holdfast.losses import towards_dlr
        >>> target = (y + 1) % 3
        >>> LeaveToward(towards_dlr)(model, x, y, target)(x).reached
        tensor([False, False, False, False])
    """

    loss: TargetedLoss

    def __call__(self, model: Model, x0: Images, y: Labels, target: Labels, /) -> Score:
        """The score of leaving ``y`` towards ``target``; ``x0`` plays no part."""
        return LeaveClass(model, self.loss, (y, target))

    def __repr__(self) -> str:
        return f"leave[{recorded(self.loss)}]"


def toward(target: int | Labels, loss: TargetedLoss = losses.towards_cross_entropy) -> Toward:
    """Reach ``target``: one class for all examples, or one per example of the batch attacked.

    Raises:
        InputTypeError: if the targets are no whole numbers.
        InputError: if one is negative; at the attack, if there are not as many as examples, or one
            is no class of the model.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.goals import toward
        >>> x_adv = PGD(Linf(0.5), goal=toward(2))(model, x, y, seed=0)
        >>> model(x_adv).argmax(dim=1)
        tensor([2, 2, 2, 2])
    """
    classes = torch.as_tensor(target)
    if classes.dtype.is_floating_point or classes.dtype == torch.bool:
        raise InputTypeError(
            f"the target has type {classes.dtype}, but must be the number of a class, or one for "
            "each image."
        )
    if (classes < 0).any():
        raise InputError(f"a target is {int(classes.min())}, but classes are numbered from 0.")

    def chosen(model: Model, x0: Images, y: Labels) -> Labels:
        del model, x0
        targets = torch.as_tensor(target, device=y.device, dtype=y.dtype)
        if targets.dim() and targets.shape != y.shape:
            raise InputError(
                f"there are {targets.numel()} targets for {len(y)} images; "
                "give one class for all, or one for each image of the batch that is attacked; an "
                "evaluation attacks batches of its own, and takes a function for targets (Toward)."
            )
        return targets.expand_as(y)

    return Toward(chosen, loss, f"toward({recorded(target)})")


def _least_likely(model: Model, x0: Images, y: Labels) -> Labels:
    del y
    with torch.no_grad():
        return logits_of(model, x0).argmin(dim=1)


#: y_LL = argmin of the logits on the clean image, fixed once (EAT 3.2, equation 3).
toward_least_likely = Toward(_least_likely, losses.towards_cross_entropy, "toward_least_likely")


leave_toward_dlr = LeaveToward(losses.towards_dlr)
