"""Cohen et al.'s two samplings with a randomised limit, which spends all of its error."""

from dataclasses import dataclass
from typing import ClassVar

from holdfast.certify.intervals.interval import INTERVALS, Limits
from holdfast.certify.intervals.two_sample import chosen
from holdfast.certify.sampling import Sampling
from holdfast.errors import InputError
from holdfast.statistics import check_confidence, randomised_lower_limit

__all__ = ["TwoSampleRandomised"]


@INTERVALS.named("two-sample-randomised")
@dataclass(frozen=True)
class TwoSampleRandomised:
    """`TwoSample` with a randomised Clopper-Pearson limit: never lower, and of exact confidence.

        P(Bin(n, p1) > k) + w · P(Bin(n, p1) = k) = 1 - confidence,  p2 = 1 - p1,
        w ~ U(0, 1), drawn once for each image.

    Votes are whole numbers, so that Clopper and Pearson's limit is wrong less often than it might
    be. One uniform draw of each image, beside its votes, settles how much of the next vote's limit
    it gets; then the limit is wrong with probability 1 - confidence, neither more nor less, for
    every true probability below 1. See `holdfast.statistics.randomised_lower_limit`. With n equal
    votes and the draw w, p1 is ((1 - confidence) / w)^(1/n), or all but 1 if w is below
    1 - confidence: who draws again until it is small has no confidence left, so the draw is that of
    the run's seed and the image's place, and an audit makes it again.

    When:
        For a little more radius from the same votes, where a draw that decides it is agreed on
        beforehand.

    When not:
        For a limit that hangs on votes alone: `TwoSample`.

    Traps:
        Who draws again until the draw is small has no confidence left. Two runs of other seeds
        certify other radii from the same votes.

    Attributes:
        confidence: joint confidence, in (0, 1).

    Reference:
        Voráček, "Treatment of statistical estimation problems in randomized smoothing for
        adversarial robustness", NeurIPS 2024; the interval is that of Stevens 1950.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import Sampling, TwoSampleRandomised
        >>> votes, choice = np.array([[3, 90, 7]]), np.array([[1, 9, 0]])
        >>> limits = TwoSampleRandomised(0.95)(Sampling(votes, None, choice, np.array([0.5])))
        >>> limits.top, limits.p1.round(3), limits.p2.round(3)  # 0.836 by TwoSample
        (array([1]), array([0.842]), array([0.158]))
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
        if sampling.uniform is None:
            raise InputError(
                "a randomised limit needs one uniform draw of each image beside its votes, and the "
                "sampling has none: give Sampling(..., uniform=...)."
            )
        p1 = randomised_lower_limit(votes, sampling.n, 1 - self.confidence, sampling.uniform)
        return Limits(top, p1, 1 - p1)
