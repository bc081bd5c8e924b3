"""Clopper-Pearson limits of the votes, corrected for all classes: one sampling is enough."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from holdfast.certify.intervals.interval import INTERVALS, Limits, two_leading
from holdfast.certify.intervals.label import LabelLimits, votes_apart
from holdfast.certify.sampling import Sampling
from holdfast.statistics import Counts, check_confidence, lower_limit, upper_limit

__all__ = ["ClopperPearson"]


@INTERVALS.named("clopper-pearson")
@dataclass(frozen=True)
class ClopperPearson:
    """One-sided Clopper-Pearson limits, with Bonferroni's correction over all K classes.

        P(Bin(n, L_k) >= N_k) = e,  P(Bin(n, U_k) <= N_k) = e,  e = (1 - confidence) / K,
        p1 = L_top,  p2 = the largest U_k of the others, at most 1 - p1.

    Each limit fails with probability e = (1 - confidence) / K. That covers the leading class though
    it is read from the same votes, where p1 > 1/2. Proof: let L and U be the limits of a class's
    votes, q_1 >= q_2 >= ... the true probabilities, t the class that leads. If q_1 >= 1/2, a wrong
    certificate has t = 1 and L_1 > q_1 or U_2 < q_2, or t = k > 1 and L_k > min(U_1, 1/2), where
    U_1 <= U(n - N_k) = 1 - L_k makes U_1 < 1/2 <= q_1: three limits, of which two are the same one
    for K = 2. If q_1 < 1/2, it has L_k > 1/2 for some k, which takes more than n / 2 votes; the
    chance F(q_k) that Bin(n, q_k) gives so many is convex up to q = 1/2, with F(0) = 0 and
    F(1/2) <= e < 1/2, so F(q_k) <= 2 q_k e, and all k together have 2 e.

    Where p1 <= 1/2 the K lower limits and the upper ones of the two most probable classes count, as
    in `Hoeffding`. Those K + 2 share what is left of the error for q_1 < 1/2, K e - 2 e; for
    q_1 >= 1/2 they fail only where the three above do. So all is 1 - confidence at most.

    With K classes and n votes p1 is at most ((1 - confidence) / K)^(1/n): 0.9484 for 100 votes,
    10 classes and 95 %.

    About a label, with k other classes (`of_label`), k + 1 limits count: the label's lower one and
    the upper ones of the k classes that truly are the most probable others. Whichever those are,
    the k largest of all upper limits are no smaller, one by one. So e = (1 - confidence) / (k + 1),
    where Jia et al. have K limits.

    When:
        To compare with SO and STN, whose Algorithm 1 reads the class off the same votes.

    When not:
        Where the class may be chosen by votes of its own: `TwoSample` has no correction to pay for.

    Traps:
        p1 ends at 0.9484 with 100 votes, 10 classes and 95 %, whatever the network: a curve that
        ends there ends by the votes. The printed 95 % is for one image; over a whole test set some
        certificates may be wrong.

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
        top, p1, p2 = _limits(sampling, error)
        small = _limits(sampling, error * (sampling.classes - 2) / (sampling.classes + 2))
        large = p1 > 0.5
        return Limits(top, np.where(large, p1, small.p1), np.where(large, p2, small.p2))

    def of_label(self, sampling: Sampling, label: Counts, top: int) -> LabelLimits:
        """Limits of a label that hangs on no vote, and of k others; see `OfLabel`."""
        own, others = votes_apart(sampling, label, top)
        error = (1 - self.confidence) / (top + 1)
        return LabelLimits(
            lower_limit(own, sampling.n, error),
            upper_limit(others, sampling.n[:, None], error),
        )


def _limits(sampling: Sampling, error: float) -> Limits:
    """The two that are shown, each wrong with probability ``error`` at most."""
    top, votes = two_leading(sampling.counts)
    p1 = lower_limit(votes[:, 0], sampling.n, error)
    return Limits(top, p1, np.minimum(upper_limit(votes[:, 1], sampling.n, error), 1 - p1))
