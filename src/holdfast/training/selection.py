"""Which epoch's weights are kept, and when it is time to stop.

Adversarially trained networks overfit: their robust accuracy on held-out images falls long before
training ends (Rice et al., "Overfitting in adversarially robust deep learning", ICML 2020). Both
questions are answered from the log alone, so a resumed run answers them as an unbroken one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.parameters import at_least_one

__all__ = ["Selection"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Keep the epoch with the best value of a metric; the first of several equal ones.

    Attributes:
        metric: a column of the log, such as ``val_robust_accuracy`` or ``val_accuracy``.
        larger: whether a larger value is better, as of an accuracy, or a smaller, as of a loss.
        patience: stop after so many epochs without a better one, at least 1; never if None.

    Example:
        >>> from holdfast.training import Selection
        >>> log = [{"val_accuracy": 0.7}, {"val_accuracy": 0.8}, {"val_accuracy": 0.75}]
        >>> selection = Selection(metric="val_accuracy", patience=1)
        >>> selection.best(log), selection.exhausted(log)
        (2, True)
    """

    metric: str = "val_robust_accuracy"
    larger: bool = True
    patience: int | None = None

    def __post_init__(self) -> None:
        at_least_one(patience=self.patience)

    def best(self, log: Sequence[Mapping[str, float]]) -> int:
        """Number of the best epoch, from 1; 0 before the first."""
        values = [epoch[self.metric] for epoch in log]
        return values.index((max if self.larger else min)(values)) + 1 if values else 0

    def exhausted(self, log: Sequence[Mapping[str, float]]) -> bool:
        """Whether the patience is at its end."""
        return self.patience is not None and len(log) - self.best(log) >= self.patience
