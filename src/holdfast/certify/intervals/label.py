"""Limits about a label: its probability, and those of the most probable other classes."""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from holdfast.certify.sampling import Sampling
from holdfast.errors import InputError
from holdfast.statistics import Array, Counts

__all__ = ["LabelLimits", "OfLabel"]


class LabelLimits(NamedTuple):
    """What a sampling proves about a label that was known before, at some confidence, jointly.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import Sampling, TwoSample
        >>> sampling = Sampling(np.array([[3, 90, 7]]))
        >>> p1, others = TwoSample(0.95).of_label(sampling, np.array([1]), top=2)
        >>> p1.round(3), others.round(3)
        (array([0.836]), array([[0.164, 0.164]]))
    """

    p1: Array  # (N,) lower limit of the label's probability
    others: Array  # (N, k) upper limits of the k largest probabilities among the other classes


@runtime_checkable
class OfLabel(Protocol):
    """An interval that can be about a label: a sampling of N images -> LabelLimits.

    Example:
        >>> from holdfast.certify import Hoeffding, OfLabel, TwoSample
        >>> isinstance(TwoSample(0.95), OfLabel), isinstance(Hoeffding(0.95), OfLabel)
        (True, False)
    """

    @property
    def confidence(self) -> float:
        """Joint confidence of the limits of one image, in (0, 1)."""
        ...

    def of_label(self, sampling: Sampling, label: Counts, top: int) -> LabelLimits:
        """The limits for every image.

        Args:
            sampling: votes; those that choose a class are not asked.
            label: (N,) a class of each image, which hangs on no vote.
            top: k, at least 1 and below the number of classes.
        """
        ...


def votes_apart(sampling: Sampling, label: Counts, top: int) -> tuple[Counts, Counts]:
    """(N,) the votes of the label, and (N, k) those of the k other classes that have the most.

    Raises:
        InputError: if there are no k other classes, or a label is none of the classes.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import Sampling
        >>> from holdfast.certify.intervals.label import votes_apart
        >>> votes_apart(Sampling(np.array([[3, 90, 7]])), np.array([2]), top=2)
        (array([7]), array([[90,  3]]))
    """
    label = np.asarray(label)
    if not 1 <= top < sampling.classes:
        raise InputError(
            f"top is {top}, but the votes are for {sampling.classes} classes: give 1 to "
            f"{sampling.classes - 1}."
        )
    if label.shape != sampling.n.shape or not ((label >= 0) & (label < sampling.classes)).all():
        raise InputError(
            f"the labels must be one of the classes 0 to {sampling.classes - 1} for each of the "
            f"{len(sampling.n)} images."
        )
    own = np.take_along_axis(sampling.counts, label[:, None], axis=1)
    others = sampling.counts.copy()
    np.put_along_axis(others, label[:, None], -1, axis=1)
    return own[:, 0], -np.sort(-others, axis=1)[:, :top]
