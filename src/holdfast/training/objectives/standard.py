"""Plain training: cross-entropy on the clean images."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from holdfast.random import Stream
from holdfast.training.objectives.names import OBJECTIVES
from holdfast.types import Images, Labels, Model

__all__ = ["Standard"]


@OBJECTIVES.named("standard")
@dataclass(frozen=True, kw_only=True)
class Standard:
    """Plain training: CE(f(x), y).

    When:
        As what every defence is measured against.

    When not:
        As a defence: it resists nothing.

    Traps:
        A baseline needs the epochs, the schedule and the augmentation of what it stands beside, or
        the difference is not the defence's.

    Reference:
        The usual practice; no paper of its own.

    Example:
        >>> from holdfast.random import Stream
        >>> from holdfast.training import Standard
        >>> loss, terms = Standard()(model, x, y, Stream.of(0, torch.arange(4)))
        >>> float(terms["accuracy"])
        1.0
    """

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        del rng
        logits = model(x)
        loss = functional.cross_entropy(logits, y)
        return loss, {"loss": loss, "accuracy": (logits.argmax(dim=1) == y).float().mean()}
