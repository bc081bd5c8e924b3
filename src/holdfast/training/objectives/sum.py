"""The sum of several objectives."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.training.paced import paced
from holdfast.types import Images, Labels, Model, Objective

__all__ = ["Total"]


@dataclass(frozen=True)
class Total:
    """Σ_i objective_i, each with its own gradient.

    `Total((Standard(), Adversarial(attack=FGSM(...))))` is CE(f(x), y) + CE(f(x_adv), y).

    Attributes:
        objectives: at least one; where two log under one name, the first does.

    Raises:
        InputError: if there is none.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.random import Stream
        >>> from holdfast.training import Adversarial, Standard, Total
        >>> rng, parts = Stream.of(0, torch.arange(4)), (Standard(), Adversarial(FGSM(Linf(0.1))))
        >>> loss, terms = Total(parts)(model, x, y, rng)
        >>> bool(loss > Standard()(model, x, y, rng)[0])
        True
    """

    objectives: tuple[Objective, ...]

    def __post_init__(self) -> None:
        if not self.objectives:
            raise InputError("there is no objective to sum; give at least one.")

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        losses, logs = [], dict[str, Tensor]()
        for place, objective in enumerate(self.objectives):
            loss, terms = objective(model, x, y, rng.fold("objective", place))
            losses.append(loss)
            logs = {**terms, **logs}
        total = torch.stack(losses).sum()
        return total, {**logs, "loss": total}

    def during(self, progress: float) -> Objective:
        """The sum of what each is on the way; see `holdfast.training.Paced`."""
        return Total(tuple(paced(objective, progress) for objective in self.objectives))
