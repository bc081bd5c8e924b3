"""Distillation: a student learns a teacher's softened answers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from holdfast.errors import InputError
from holdfast.losses import soft_cross_entropy
from holdfast.random import Stream
from holdfast.training.frozen import Frozen
from holdfast.types import Images, Labels, Model

__all__ = ["Distillation"]


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """a · T² · CE(softmax(t(x) / T), f(x) / T) + (1 - a) · CE(f(x), y), t the teacher.

    T² keeps the gradient of the soft term at one scale whatever T is. A student of what a black box
    answers in classes alone, or with its queries counted, is `holdfast.training.distill`.

    When:
        To make a smaller or smoother network of a trained one, or a surrogate to transfer from.

    When not:
        As a defence: what large temperatures hid were gradients.

    Traps:
        A student at T > 1 answers with large logits at T = 1, whose softmax saturates: attack it on
        the margin or DLR. At weight 1 the labels play no part, and the student learns the teacher's
        errors too.

    Attributes:
        teacher: t, a trained network, which stays as it is.
        temperature: T > 0; above 1 the teacher's smaller probabilities count more.
        weight: a in [0, 1], of the teacher; at 1 the labels play no part.

    Raises:
        InputError: if the temperature is not positive, or the weight not between 0 and 1; at the
            first batch, if the teacher knows other classes than the network.

    Reference:
        Hinton et al., "Distilling the knowledge in a neural network", 2015, section 2; Papernot et
        al., "Distillation as a defense to adversarial perturbations", S&P 2016, who also train the
        teacher at T.

    Example:
        >>> from torch import nn
        >>> from holdfast.random import Stream
        >>> from holdfast.training import Distillation, Frozen
        >>> student = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        >>> objective = Distillation(teacher=Frozen(model, name="teacher"), temperature=10.0)
        >>> loss, terms = objective(student, x, y, Stream.of(0, torch.arange(4)))
        >>> bool(loss > 0)
        True
    """

    teacher: Frozen
    temperature: float = 1.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"temperature is {self.temperature}, but must be positive.")
        if not 0 <= self.weight <= 1:
            raise InputError(f"weight is {self.weight}, but lies between 0 and 1.")

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        del rng
        with torch.no_grad():
            taught = self.teacher(x)
        logits, t = model(x), self.temperature
        if taught.shape != logits.shape:
            raise InputError(
                f"the teacher {self.teacher.name} answers with shape {tuple(taught.shape)} and the "
                f"network with {tuple(logits.shape)}; give a teacher of the same classes."
            )
        soft = t**2 * soft_cross_entropy(logits / t, taught / t).mean()
        hard = functional.cross_entropy(logits, y)
        loss = self.weight * soft + (1 - self.weight) * hard
        return loss, {
            "loss": loss,
            "soft": soft,
            "hard": hard,
            "agreement": (logits.argmax(dim=1) == taught.argmax(dim=1)).float().mean(),
            "accuracy": (logits.argmax(dim=1) == y).float().mean(),
        }
