"""Clopper-Pearson limits of the votes, corrected for all classes: one sampling is enough."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from holdfast.certify.intervals.interval import INTERVALS, Limits, two_leading
from holdfast.certify.sampling import Sampling
from holdfast.statistics import check_confidence, lower_limit, upper_limit

__all__ = ["ClopperPearson"]


@INTERVALS.named("clopper-pearson")
@dataclass(frozen=True)
class ClopperPearson:
    """One-sided Clopper-Pearson limits, with Bonferroni's correction over all K classes.

    Each limit fails with probability at most (1 - confidence) / K, also though the leading class is
    read from the same votes: for two classes that is all, since p2 = 1 - p1. For more, K + 2 limits
    count, as in `Hoeffding`, but they do not fail apart: the exact fraction of wrong certificates,
    summed over all outcomes, stays well below 1 - confidence for every law of the tests.

    With K classes and n votes p1 is at most ((1 - confidence) / K)^(1/n): 0.9484 for 100 votes,
    10 classes and 95 %.

    Attributes:
        confidence: joint confidence, in (0, 1).

    Reference:
        Clopper and Pearson 1934; used by Li et al. 2019, section 4, "Confidence interval and
        sample size".

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import ClopperPearson, Sampling
        >>> limits = ClopperPearson(0.95)(Sampling(np.array([[3, 90, 7]])))
        >>> limits.top, limits.p1.round(3), limits.p2.round(3)
        (array([1]), array([0.817]), array([0.145]))
    """

    confidence: float
    chooses: ClassVar[bool] = False
    guaranteed: ClassVar[bool] = True
    of_votes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_confidence(self.confidence)

    def __call__(self, sampling: Sampling) -> Limits:
        """The limits for every image."""
        error = (1 - self.confidence) / sampling.classes
        top, votes = two_leading(sampling.counts)
        p1 = lower_limit(votes[:, 0], sampling.n, error)
        p2 = np.minimum(upper_limit(votes[:, 1], sampling.n, error), 1 - p1)
        return Limits(top, p1, p2)
