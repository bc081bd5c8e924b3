"""Sison and Glaz's intervals: STN's code uses them, for comparison and never as a guarantee."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import scipy

from holdfast.certify.intervals.interval import INTERVALS, Limits
from holdfast.certify.sampling import Sampling
from holdfast.certify.search import smallest
from holdfast.statistics import check_confidence

__all__ = ["SisonGlaz"]

# Of K, n and confidence alone, and an image repeats another's counts more often than not.
_REMEMBERED = 100_000


@INTERVALS.named("sison-glaz")
@dataclass(frozen=True)
class SisonGlaz:
    """Simultaneous limits of all classes that are as short as the normal law allows; not sound.

        ν(c) = P(|X_i - n_i| <= c for all i),  X multinomial with the observed fractions n_i / n,
        ν(c) < confidence <= ν(c + 1),  γ = (confidence - ν(c)) / (ν(c + 1) - ν(c)),
        p_i in [n_i / n - c / n, n_i / n + (c + 2γ) / n].

    The law of X is that of the observed fractions, not of the true ones, so the limits break down
    where certificates live: at 100 votes of 100, c = 0, and p1 >= 1 is claimed although a true p1
    of 0.98 gives such a vote with probability 0.13. **The stated confidence does not hold**,
    and at σ = 0.7 the radii that STN prints lie beyond even these limits: they need `STN2019`.

    When:
        To compare with radii that rest on it, as those of STN's code since December 2020 do.

    When not:
        As a guarantee, ever: its coverage falls to 77.4 % near p = 0.96 where it claims 95
        (docs/results/certified-robustness-additive-gaussian-noise/lenet.md).

    Traps:
        It takes the observed fractions for the true ones, which is worst near p = 1. R's
        ``multinomialCI`` takes the significance level and not the confidence: `STN2019` is what
        comes of it.

    Attributes:
        confidence: what the limits claim, in (0, 1).

    Reference:
        Sison and Glaz 1995; May and Johnson 2000. Differs from the papers in computing ν exactly,
        by convolution, in place of their Edgeworth expansion; ν(0) counts as 0; and p1 is cut to
        1 - p2, without which p1 = 1 would have an infinite radius.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import Sampling, SisonGlaz
        >>> limits = SisonGlaz(0.95)(Sampling(np.array([[3, 90, 7]])))
        >>> limits.top, bool(limits.p1[0] < 0.9)
        (array([1]), True)
    """

    confidence: float
    chooses: ClassVar[bool] = False
    guaranteed: ClassVar[bool] = False
    of_votes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_confidence(self.confidence)

    def __call__(self, sampling: Sampling) -> Limits:
        """The limits for every image."""
        order = np.argsort(-sampling.counts, axis=1, kind="stable")
        counts = np.take_along_axis(sampling.counts, order, axis=1)
        below_above = [
            _reach(tuple(int(votes) for votes in row if votes), self.confidence) for row in counts
        ]
        below, above = np.array(below_above).reshape(-1, 2).T
        p2 = np.minimum((counts[:, 1] + above) / sampling.n, 1)
        p1 = np.minimum(np.maximum(counts[:, 0] - below, 0) / sampling.n, 1 - p2)
        return Limits(order[:, 0], p1, p2)


@lru_cache(_REMEMBERED)
def _reach(counts: tuple[int, ...], confidence: float) -> tuple[float, float]:
    """How many votes the limits lie below and above each count: c and c + 2γ."""
    n = sum(counts)
    high = smallest(lambda c: c >= n or _within(counts, c) >= confidence)
    low = high - 1
    before = _within(counts, low) if low else 0.0
    fraction = (confidence - before) / (_within(counts, high) - before)
    return low, low + 2 * fraction


def _within(counts: tuple[int, ...], c: int) -> float:
    """ν(c): independent Poisson numbers, given that they sum to n, are multinomial."""
    n = sum(counts)
    law, start = np.ones(1), 0  # of the sum of the classes so far, which begins at start
    for votes in counts:
        first = max(votes - c, 0)
        law = np.convolve(law, scipy.stats.poisson.pmf(np.arange(first, votes + c + 1), votes))
        start += first
    return float(law[n - start] / scipy.stats.poisson.pmf(n, n))
