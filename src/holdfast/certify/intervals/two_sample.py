"""Cohen et al.'s two samplings: one chooses the class, the other bounds its probability."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from holdfast.certify.intervals.interval import INTERVALS, Limits
from holdfast.certify.intervals.label import LabelLimits, votes_apart
from holdfast.certify.sampling import Sampling
from holdfast.errors import InputError
from holdfast.statistics import Counts, check_confidence, lower_limit

__all__ = ["TwoSample"]


@INTERVALS.named("two-sample")
@dataclass(frozen=True)
class TwoSample:
    """Cohen et al.'s scheme: n0 draws choose the class, n others bound its probability.

        P(Bin(n, p1) >= k) = 1 - confidence,  p2 = 1 - p1,
        k of n votes being for the class that n0 others chose.

    Since the class is fixed before the n draws, one Clopper-Pearson limit at the whole error is
    enough, and p2 = 1 - p1. With n votes p1 is at most (1 - confidence)^(1/n).

    A label that is known before (`of_label`) is as fixed, and needs no draws that choose.

    When:
        By default.

    When not:
        Where the class is read off the same votes: `ClopperPearson`. Where votes are dear:
        `Sequential`.

    Traps:
        p2 = 1 - p1, so that an image whose top class has less than half of the probability is never
        certified, however far ahead it is. Choosing the class by the votes that bound it undoes the
        confidence.

    Attributes:
        confidence: joint confidence, in (0, 1).

    Reference:
        Cohen et al., "Certified adversarial robustness via randomized smoothing", 2019, section
        3.2.2, function Certify.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import Sampling, TwoSample
        >>> sampling = Sampling(np.array([[3, 90, 7]]), choice=np.array([[1, 9, 0]]))
        >>> limits = TwoSample(0.95)(sampling)
        >>> limits.top, limits.p1.round(3), limits.p2.round(3)
        (array([1]), array([0.836]), array([0.164]))
    """

    confidence: float
    chooses: ClassVar[bool] = True
    guaranteed: ClassVar[bool] = True
    of_votes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_confidence(self.confidence)

    def __call__(self, sampling: Sampling) -> Limits:
        """The limits for every image."""
        top, votes = chosen(sampling)
        p1 = lower_limit(votes, sampling.n, 1 - self.confidence)
        return Limits(top, p1, 1 - p1)

    def of_label(self, sampling: Sampling, label: Counts, top: int) -> LabelLimits:
        """The one limit of a label that hangs on no vote; k others share the rest (`OfLabel`)."""
        own, others = votes_apart(sampling, label, top)
        p1 = lower_limit(own, sampling.n, 1 - self.confidence)
        return LabelLimits(p1, np.broadcast_to((1 - p1)[:, None], others.shape))


def chosen(sampling: Sampling) -> tuple[Counts, Counts]:
    """(N,) the class that the first draws chose, and how many of the others it has.

    Raises:
        InputError: if there are no draws that choose.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import Sampling
        >>> from holdfast.certify.intervals.two_sample import chosen
        >>> chosen(Sampling(np.array([[3, 90, 7]]), choice=np.array([[1, 9, 0]])))
        (array([1]), array([90]))
    """
    if sampling.choice is None:
        raise InputError(
            "two-sample limits need draws that choose the class: give selection_votes."
        )
    top = sampling.choice.argmax(axis=1)
    return top, np.take_along_axis(sampling.counts, top[:, None], axis=1)[:, 0]
