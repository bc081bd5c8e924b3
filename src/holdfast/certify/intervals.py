"""Confidence limits for a binomial share and for the two leading classes of a vote."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from holdfast.certify.bound import Array
from holdfast.errors import InputError

Counts = NDArray[np.int64]


class Limits(NamedTuple):
    """What a vote proves, at some confidence: ``p1`` and ``p2`` hold jointly."""

    top: Counts  # (N,) class with the most votes
    p1: Array  # (N,) lower limit of its probability
    p2: Array  # (N,) upper limit of every other class's probability, at most 1 - p1


@runtime_checkable
class Interval(Protocol):
    """Counts (N, K) of n votes each -> Limits."""

    def __call__(self, counts: Counts) -> Limits:
        """The limits for every image."""
        ...


@dataclass(frozen=True)
class ClopperPearson:
    """One-sided Clopper-Pearson limits, with Bonferroni's correction over all K classes.

    Each class's limit fails with probability at most (1 - confidence) / K, so all hold together,
    also though the leading class is read from the same votes. With K classes and n votes p1 is at
    most ((1 - confidence) / K)^(1/n): 0.9484 for 100 votes, 10 classes and 95 %.

    Attributes:
        confidence: joint confidence, in (0, 1).

    Reference:
        Clopper and Pearson 1934; used by Li et al. 2019, section 4, "Confidence interval and
        sample size".
    """

    confidence: float

    def __post_init__(self) -> None:
        check_confidence(self.confidence)

    def __call__(self, counts: Counts) -> Limits:
        """The limits for every image; ``counts`` is (N, K)."""
        n, classes = counts.sum(axis=1), counts.shape[1]
        error = (1 - self.confidence) / classes
        order = np.argsort(-counts, axis=1, kind="stable")  # ties go to the lower class
        votes = np.take_along_axis(counts, order[:, :2], axis=1)
        p1 = lower_limit(votes[:, 0], n, error)
        p2 = np.minimum(upper_limit(votes[:, 1], n, error), 1 - p1)
        return Limits(order[:, 0], p1, p2)


def lower_limit(successes: Counts, trials: Counts, error: float) -> Array:
    """The share that lies below the true one with probability at least 1 - error."""
    limit = beta.ppf(error, np.maximum(successes, 1), trials - successes + 1)
    return np.where(successes > 0, limit, 0.0)


def upper_limit(successes: Counts, trials: Counts, error: float) -> Array:
    """The share that lies above the true one with probability at least 1 - error."""
    limit = beta.ppf(1 - error, successes + 1, np.maximum(trials - successes, 1))
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
