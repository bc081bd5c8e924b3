"""Two models on the same images: what differs is what they disagree on.

Accuracies of two models on the same images rise and fall together with the images, so that their
intervals overlap long after the difference is certain. What is compared is therefore each image.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from holdfast.errors import InputError
from holdfast.statistics import check_confidence, proportion_interval

__all__ = ["Paired", "paired"]


@dataclass(frozen=True)
class Paired:
    """How two models fare on the same N images.

    Attributes:
        n: images.
        both: right with both models.
        only_first: right with the first model alone.
        only_second: right with the second model alone.
        low: lower limit of `difference`.
        high: its upper limit.
        p_value: of McNemar's exact test: the probability of so many disagreements to one side, or
            more, if both models were equally likely to win each.

    Example:
        >>> import numpy as np
        >>> from holdfast.metrics import paired
        >>> first, second = np.arange(100) < 60, np.arange(100) < 80
        >>> found = paired(first, second)
        >>> found.difference, round(found.low, 3), round(found.high, 3), found.p_value < 1e-5
        (0.2, 0.07, 0.321, True)
    """

    n: int
    both: int
    only_first: int
    only_second: int
    low: float
    high: float
    p_value: float

    @property
    def first(self) -> float:
        """Accuracy of the first model."""
        return (self.both + self.only_first) / self.n

    @property
    def second(self) -> float:
        """Accuracy of the second model."""
        return (self.both + self.only_second) / self.n

    @property
    def difference(self) -> float:
        """Of the second model's accuracy over the first one's."""
        return (self.only_second - self.only_first) / self.n

    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "n": self.n,
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "p_value": self.p_value,
            "only_first": self.only_first,
            "only_second": self.only_second,
        }


def paired(first: NDArray[np.bool_], second: NDArray[np.bool_], confidence: float = 0.95) -> Paired:
    """Compare which images two models get right.

    The difference is d (2θ − 1), where d is how often the models disagree and θ how often the
    second is right where they do. Both lie within Clopper and Pearson's limits, d at a fifth of the
    error and θ at the rest, so that the interval holds with the stated confidence for any number of
    images, also where the models agree on all of them. It excludes 0 where McNemar's exact test is
    significant at four fifths of the error.

    Args:
        first: (N,) whether the first model is right.
        second: (N,) whether the second is, on the same images.
        confidence: of the interval.

    Raises:
        InputError: if there are no images, or not as many of both, or the confidence is none.

    Reference:
        McNemar, "Note on the sampling error of the difference between correlated proportions or
        percentages", 1947.

    Example:
        >>> import numpy as np
        >>> from holdfast.metrics import paired
        >>> same = paired(np.array([True, False]), np.array([True, False]))
        >>> same.difference, same.p_value, same.low == -same.high
        (0.0, 1.0, True)
    """
    check_confidence(confidence)
    if first.shape != second.shape or not len(first):
        raise InputError(
            f"there are {len(first)} and {len(second)} images, but two models are compared on the "
            "same images, at least one."
        )
    lost, won = int((first & ~second).sum()), int((second & ~first).sum())
    apart = lost + won
    disagree = proportion_interval(apart, len(first), 1 - (1 - confidence) / 5)
    wins = proportion_interval(won, apart, 1 - (1 - confidence) * 4 / 5) if apart else (0.0, 1.0)
    corners = [d * (2 * theta - 1) for d in disagree for theta in wins]
    return Paired(
        n=len(first),
        both=int((first & second).sum()),
        only_first=lost,
        only_second=won,
        low=float(min(corners)),
        high=float(max(corners)),
        p_value=float(scipy.stats.binomtest(lost, apart).pvalue) if apart else 1.0,
    )
