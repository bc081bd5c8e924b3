"""What an interval is: from a sampling to limits for the two leading classes that hold jointly."""

from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from holdfast.certify.sampling import Sampling
from holdfast.certify.search import smallest
from holdfast.registry import Registry
from holdfast.statistics import Array, Counts

__all__ = ["INTERVALS", "Interval", "Limits", "least_draws"]


class Limits(NamedTuple):
    """What a sampling proves, at some confidence: ``p1`` and ``p2`` hold jointly.

    Example:
        >>> from holdfast.certify import ClopperPearson, Sampling
        >>> top, p1, p2 = ClopperPearson(0.95)(Sampling.unanimous(100, classes=10))
        >>> int(top[0]), round(float(p1[0]), 4), round(float(p2[0]), 4)
        (0, 0.9484, 0.0516)
    """

    top: Counts  # (N,) the class that leads
    p1: Array  # (N,) lower limit of its probability
    p2: Array  # (N,) upper limit of every other class's probability, at most 1 - p1


@runtime_checkable
class Interval(Protocol):
    """A sampling of N images -> Limits.

    Example:
        >>> from holdfast.certify import ClopperPearson
        >>> from holdfast.certify.intervals import Interval
        >>> isinstance(ClopperPearson(0.95), Interval)
        True
    """

    chooses: ClassVar[bool]  # whether it needs draws that only choose the class
    guaranteed: ClassVar[bool]  # whether the limits hold with the stated confidence
    of_votes: ClassVar[bool]  # whether they are about the majority vote, and not about mean scores

    def __init__(self, confidence: float) -> None:
        """From its confidence alone."""
        ...

    @property
    def confidence(self) -> float:
        """Joint confidence of the limits of one image, in (0, 1)."""
        ...

    def __call__(self, sampling: Sampling) -> Limits:
        """The limits for every image."""
        ...


#: Intervals by the names of the command line, entered where each is defined.
INTERVALS: Registry[type[Interval]] = Registry("interval")


def least_draws(interval: Interval, classes: int) -> int:
    """The smallest n at which draws that all agree tell the leading class from the others.

    Example:
        >>> from holdfast.certify import ClopperPearson
        >>> from holdfast.certify.intervals import least_draws
        >>> least_draws(ClopperPearson(0.95), classes=10)
        8
    """

    def enough(n: int) -> bool:
        _, p1, p2 = interval(Sampling.unanimous(n, classes))
        return bool(p1[0] > p2[0])

    return smallest(enough)


def two_leading(values: NDArray[Any]) -> tuple[Counts, NDArray[Any]]:
    """The leading class of each image, ties to the lower one, and the two largest values.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify.intervals.interval import two_leading
        >>> two_leading(np.array([[3, 90, 7]]))
        (array([1]), array([[90,  7]]))
    """
    order = np.argsort(-values, axis=1, kind="stable")
    return order[:, 0], np.take_along_axis(values, order[:, :2], axis=1)
