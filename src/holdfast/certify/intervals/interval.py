"""Confidence limits for the two leading classes of a noisy vote, and for a share."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from holdfast.certify.bounds.bound import Array
from holdfast.certify.sampling import Counts, Sampling
from holdfast.certify.search import smallest
from holdfast.errors import InputError


class Limits(NamedTuple):
    """What a sampling proves, at some confidence: ``p1`` and ``p2`` hold jointly."""

    top: Counts  # (N,) the class that leads
    p1: Array  # (N,) lower limit of its probability
    p2: Array  # (N,) upper limit of every other class's probability, at most 1 - p1


@runtime_checkable
class Interval(Protocol):
    """A sampling of N images -> Limits."""

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


@dataclass(frozen=True)
class ClopperPearson:
    """One-sided Clopper-Pearson limits, with Bonferroni's correction over all K classes.

    Each limit fails with probability at most (1 - confidence) / K, also though the leading class is
    read from the same votes: for two classes that is all, since p2 = 1 - p1. For more, K + 2 limits
    count, as in `Hoeffding`, but they do not fail apart: the exact share of wrong certificates,
    summed over all outcomes, stays well below 1 - confidence for every law of the tests.

    With K classes and n votes p1 is at most ((1 - confidence) / K)^(1/n): 0.9484 for 100 votes,
    10 classes and 95 %.

    Attributes:
        confidence: joint confidence, in (0, 1).

    Reference:
        Clopper and Pearson 1934; used by Li et al. 2019, section 4, "Confidence interval and
        sample size".
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
        top, votes = _two_leading(sampling.counts)
        p1 = lower_limit(votes[:, 0], sampling.n, error)
        p2 = np.minimum(upper_limit(votes[:, 1], sampling.n, error), 1 - p1)
        return Limits(top, p1, p2)


@dataclass(frozen=True)
class TwoSample:
    """Cohen et al.'s scheme: n0 draws choose the class, n others bound its probability.

    Since the class is fixed before the n draws, one Clopper-Pearson limit at the whole error is
    enough, and p2 = 1 - p1. With n votes p1 is at most (1 - confidence)^(1/n).

    Attributes:
        confidence: joint confidence, in (0, 1).

    Reference:
        Cohen et al., "Certified adversarial robustness via randomized smoothing", 2019, section
        3.2.2, function Certify.
    """

    confidence: float
    chooses: ClassVar[bool] = True
    guaranteed: ClassVar[bool] = True
    of_votes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_confidence(self.confidence)

    def __call__(self, sampling: Sampling) -> Limits:
        """The limits for every image."""
        if sampling.choice is None:
            raise InputError("two-sample limits need draws that choose the class: give n0.")
        top = sampling.choice.argmax(axis=1)
        votes = np.take_along_axis(sampling.counts, top[:, None], axis=1)[:, 0]
        p1 = lower_limit(votes, sampling.n, 1 - self.confidence)
        return Limits(top, p1, 1 - p1)


@dataclass(frozen=True)
class Hoeffding:
    """Limits of the mean scores instead of the votes, as PixelDP uses them.

        mean score ± sqrt(log((K + 2) / (1 - confidence)) / 2n),

    where K + 2 limits must hold: the lower ones of all K classes, of which any may lead, and the
    upper ones of the two that are truly the most probable. What is certified is the classifier
    that answers the class of the largest mean softmax, which need not be the vote.

    Attributes:
        confidence: joint confidence, in (0, 1).

    Reference:
        Hoeffding 1963, theorem 1; Lecuyer et al. 2019, section 3.4, "Certified prediction".
    """

    confidence: float
    chooses: ClassVar[bool] = False
    guaranteed: ClassVar[bool] = True
    of_votes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_confidence(self.confidence)

    def __call__(self, sampling: Sampling) -> Limits:
        """The limits for every image."""
        if sampling.scores is None:
            raise InputError("Hoeffding limits need mean scores, and the sampling has none.")
        error = (1 - self.confidence) / (sampling.classes + 2)
        width = np.sqrt(np.log(1 / error) / (2 * sampling.n))
        top, means = _two_leading(sampling.scores)
        p1 = np.maximum(means[:, 0] - width, 0)
        return Limits(top, p1, np.minimum(means[:, 1] + width, 1 - p1))


def least_draws(interval: Interval, classes: int) -> int:
    """The smallest n at which draws that all agree tell the leading class from the others."""

    def enough(n: int) -> bool:
        _, p1, p2 = interval(Sampling.unanimous(n, classes))
        return bool(p1[0] > p2[0])

    return smallest(enough)


def lower_limit(successes: Counts, trials: Counts, error: float) -> Array:
    """The share that lies below the true one with probability at least 1 - error."""
    limit = beta.ppf(error, np.maximum(successes, 1), trials - successes + 1)
    return np.where(successes > 0, limit, 0.0)


def upper_limit(successes: Counts, trials: Counts, error: float | Array) -> Array:
    """The share that lies above the true one with probability at least 1 - error."""
    limit = beta.isf(error, successes + 1, np.maximum(trials - successes, 1))
    return np.where(successes < trials, limit, 1.0)


def share_interval(
    successes: Counts | int, trials: Counts | int, confidence: float = 0.95
) -> tuple[Array, Array]:
    """Two-sided Clopper-Pearson intervals of shares, such as an accuracy over test images."""
    check_confidence(confidence)
    counts, of = np.asarray(successes), np.asarray(trials)
    error = (1 - confidence) / 2
    return lower_limit(counts, of, error), upper_limit(counts, of, error)


def check_confidence(confidence: float) -> None:
    """Raise `InputError` unless ``confidence`` lies strictly between 0 and 1."""
    if not (math.isfinite(confidence) and 0 < confidence < 1):
        raise InputError(f"confidence is {confidence}, but must lie between 0 and 1, such as 0.95.")


def _two_leading(values: NDArray[Any]) -> tuple[Counts, NDArray[Any]]:
    """The leading class of each image, ties to the lower one, and the two largest values."""
    order = np.argsort(-values, axis=1, kind="stable")
    return order[:, 0], np.take_along_axis(values, order[:, :2], axis=1)
