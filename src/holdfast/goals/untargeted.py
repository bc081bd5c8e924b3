"""Leave the true class, or the class that the model predicts."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast import losses
from holdfast.goals.logits import logits_of, one_each
from holdfast.recorded import recorded
from holdfast.types import Goal, Images, Labels, Loss, Model, Positions, Score, Scored, TargetedGoal

__all__ = [
    "AgainstPrediction",
    "Untargeted",
    "clipped_cross_entropy",
    "cross_entropy",
    "dlr",
    "margin",
]


@dataclass(frozen=True, eq=False)
class LeaveClass:
    """Score of leaving a class: ascend a loss until it is not predicted.

    Attributes:
        model: that answers.
        loss: of logits and labels.
        labels: (N,) the classes to leave, and others that the loss takes.
    """

    model: Model
    loss: Callable[..., Tensor]
    labels: tuple[Labels, ...]

    def __call__(self, x: Images) -> Scored:
        """The loss, and whether another class is predicted."""
        logits = logits_of(self.model, x)
        value = one_each(self.loss(logits, *self.labels), logits, self.loss)
        return Scored(value, logits.argmax(dim=1) != self.labels[0])

    def take(self, index: Positions) -> Score:
        """The same score on the chosen examples."""
        return replace(self, labels=tuple(labels[index] for labels in self.labels))


@dataclass(frozen=True, repr=False)
class Untargeted(Goal):
    """Leave the class ``y`` by ascending ``loss``.

    Example:
        >>> from holdfast.goals import Untargeted
        >>> from holdfast.losses import margin
        >>> value, reached = Untargeted(margin)(model, x, y)(x)
        >>> bool((value < 0).all()), reached
        (True, tensor([False, False, False, False]))
    """

    loss: Loss

    def __call__(self, model: Model, x0: Images, y: Labels) -> Score:
        """The score of leaving ``y``; ``x0`` plays no part."""
        return LeaveClass(model, self.loss, (y,))

    def __repr__(self) -> str:
        return recorded(self.loss)


@dataclass(frozen=True)
class AgainstPrediction(Goal):
    """Another goal, with the model's prediction on the clean image in place of the label.

    Adversarial training with a single-step attack on the true label lets the network read the label
    off the perturbation ("label leaking"); see EAT appendix C.2.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.goals import AgainstPrediction, cross_entropy
        >>> attack = FGSM(Linf(0.1), goal=AgainstPrediction(cross_entropy))
        >>> wrong = (y + 1) % 3  # plays no part
        >>> bool((attack(model, x, y) == attack(model, x, wrong)).all())
        True
    """

    goal: Goal | TargetedGoal

    def __call__(self, model: Model, x0: Images, y: Labels, /, *target: Labels) -> Score:
        """The score of ``goal`` with predicted labels, and with its target if it takes one."""
        with torch.no_grad():
            return self.goal(model, x0, logits_of(model, x0).argmax(dim=1), *target)


clipped_cross_entropy = Untargeted(losses.clipped_cross_entropy)
cross_entropy = Untargeted(losses.cross_entropy)
margin = Untargeted(losses.margin)
dlr = Untargeted(losses.dlr)
