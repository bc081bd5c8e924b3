"""Votes where they count: how many an image gets is decided by the votes that choose its class.

The number of votes is fixed once the class is, by draws that are independent of the votes, so that
one limit for a fixed number of draws holds with the stated confidence, as in Cohen et al.'s scheme.
It depends on nothing but the image's own draws: not on other images, nor on order or batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import scipy

from holdfast.certify.bounds.bound import Bound, proven
from holdfast.certify.intervals.interval import INTERVALS, Limits
from holdfast.certify.intervals.two_sample import TwoSample
from holdfast.certify.questions import Question
from holdfast.certify.sampling import Sampling
from holdfast.certify.sequential import Settled, looks
from holdfast.errors import InputError
from holdfast.statistics import Array, Counts, check_confidence, lower_limit, proportion_interval

__all__ = ["InputSpecific"]

#: Confidence of the interval in which an image's probability is thought to lie.
_THOUGHT = 0.8

#: Chance that the votes of an image prove what its number was chosen for.
_CHANCE = 0.9

#: Probabilities that are tried, from one end of that interval to the other.
_TRIED = 9


@INTERVALS.named("input-specific")
@dataclass(frozen=True)
class InputSpecific:
    """Two-sample limits from as many votes as an image's question needs, by its selection votes.

    With k of n0 selection votes for the class its probability is thought to lie between Clopper and
    Pearson's limits a and b. From n votes an image of probability p has a radius of R(p; n) or
    more, with a chance of 90 %: that of the limit which p n - 1.28 √(p (1 - p) n) votes prove. It
    gets the smallest n at which all questions have one answer for radii from R(p; n) to R(p; N),
    the median radius of the most votes N, whatever p in [a, b] is; N if there is no other.

    An image that no number of votes would certify gets next to none, nor does one of a large
    margin, and most go to those that are close to a radius that is asked for. Nothing is promised
    of the number but that it is no more than N; the certificate is `TwoSample`'s for n votes, and
    so is its confidence, since n and the class are fixed before the votes are drawn.

    When:
        For the radius up to a factor, `Within`, at a fraction of the votes.

    When not:
        For given radii, where `Sequential` takes fewer votes and loses less; nor where a promise is
        needed that the factor is kept.

    Traps:
        That the factor is kept is likely and not promised: 94 to 98 % of the images on four
        networks (docs/results/fewer-votes.md). The questions must be named before the votes are
        seen.

    Attributes:
        confidence: joint confidence of the limits, in (0, 1).
        most: N; None where the limits alone are wanted.

    Reference:
        Chen, Li, Yan, Li and Sheng, "Input-specific robustness certification for randomized
        smoothing", AAAI 2022. Differs in what the decline may be, any question and not a constant,
        and in leaving room for the votes' own chance; theirs is of their mean.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import InputSpecific, Sampling
        >>> sampling = Sampling(np.array([[0, 100, 0]]), choice=np.array([[0, 10, 0]]))
        >>> top, p1, _ = InputSpecific(0.95)(sampling)
        >>> top, p1.round(2)
        (array([1]), array([0.97]))
    """

    confidence: float
    most: int | None = None
    chooses: ClassVar[bool] = True
    guaranteed: ClassVar[bool] = True
    of_votes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_confidence(self.confidence)

    def __call__(self, sampling: Sampling) -> Limits:
        """The limits for every image."""
        return TwoSample(self.confidence)(sampling)

    def lower(self, p: Array, n: Counts, chance: float) -> Array:
        """Limits that n votes of probability p prove with that chance, by the normal law."""
        spread = np.sqrt(p * (1 - p) * n)
        votes = np.floor(p * n - scipy.stats.norm.ppf(chance) * spread).astype(np.int64)
        return lower_limit(np.maximum(votes, 0), n, 1 - self.confidence)


def allotted(
    questions: Sequence[Question], limits: InputSpecific, bounds: Sequence[Bound], sigma: float
) -> Callable[[Sampling], Settled]:
    """Whether images have the votes that are meant for them.

    Args:
        questions: what one wants to know of the radii.
        limits: with the most votes that an image may get.
        bounds: make radii of its limits.
        sigma: of the noise.

    Raises:
        InputError: if the limits do not say how many votes there may be at the most.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import AtLeast, InputSpecific, Sampling, cohen_radius
        >>> from holdfast.certify.input_specific import allotted
        >>> limits = InputSpecific(0.999, most=100_000)
        >>> enough = allotted([AtLeast((1.0,))], limits, [cohen_radius], 1.0)
        >>> chosen, votes = np.array([[15, 85], [1, 99]]), np.array([[450, 2550], [30, 2970]])
        >>> enough(Sampling(votes, choice=chosen))  # one of two is clear
        array([False,  True])
    """
    if limits.most is None:
        raise InputError("say by most how many votes an image may get.")
    sizes = np.array([last for _, last in looks(limits.most)])

    @cache
    def meant(leading: int, n0: int) -> int:
        """The number of votes of an image with so many selection votes for its class."""
        ends = proportion_interval(leading, n0, _THOUGHT)
        p, n = (each.ravel() for each in np.meshgrid(np.linspace(*ends, _TRIED), sizes))
        fewer = limits.lower(p, n, _CHANCE)
        most = limits.lower(p, np.full_like(n, limits.most), 0.5)
        same = np.ones(len(p), dtype=bool)
        for bound in bounds:
            radii = [proven(bound, p1, 1 - p1, sigma) for p1 in (fewer, most)]
            for question in questions:
                same &= question(*radii)
        short = np.flatnonzero(~same.reshape(len(sizes), _TRIED).all(axis=1))
        return int(sizes[min(short[-1] + 1, len(sizes) - 1)] if len(short) else sizes[0])

    def enough(sampling: Sampling) -> Settled:
        choice = sampling.choice
        if choice is None:
            raise InputError("votes are allotted by selection votes: give selection_votes.")
        leading, n0 = choice.max(axis=1), choice.sum(axis=1)
        wanted = [meant(int(k), int(of)) for k, of in zip(leading, n0, strict=True)]
        return np.asarray(sampling.n >= np.array(wanted))

    return enough
