"""The sum of several objectives."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import InputError
from holdfast.random import Stream
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
