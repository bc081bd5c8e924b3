"""What counts prove about a proportion: Clopper-Pearson limits, for votes and test images."""

import math
from typing import TypeAlias

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc

from holdfast.errors import InputError

__all__ = [
    "Array",
    "Counts",
    "beyond_chance",
    "check_confidence",
    "lower_limit",
    "proportion_interval",
    "randomised_lower_limit",
    "upper_limit",
]

Array: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]

#: Of a tie, below which votes that part two classes leave no doubt.
_CHANCE = 1e-3


def lower_limit(successes: Counts, trials: Counts, error: float) -> Array:
    """The fraction that lies below the true one with probability at least 1 - error.

    Example:
        >>> import numpy as np
        >>> from holdfast.statistics import lower_limit
        >>> lower_limit(np.array([0, 100]), np.array([100, 100]), 0.05).round(3)
        array([0.  , 0.97])
    """
    limit = scipy.stats.beta.ppf(error, np.maximum(successes, 1), trials - successes + 1)
    return np.where(successes > 0, limit, 0.0)


def upper_limit(successes: Counts, trials: Counts, error: float | Array) -> Array:
    """The fraction that lies above the true one with probability at least 1 - error.

    Example:
        >>> import numpy as np
        >>> from holdfast.statistics import upper_limit
        >>> upper_limit(np.array([0, 100]), np.array([100, 100]), 0.05).round(3)
        array([0.03, 1.  ])
    """
    limit = scipy.stats.beta.isf(error, successes + 1, np.maximum(trials - successes, 1))
    return np.where(successes < trials, limit, 1.0)


def randomised_lower_limit(
    successes: Counts, trials: Counts, error: float, uniform: Array
) -> Array:
    """As `lower_limit`, and the true fraction p lies below it with probability ``error`` exactly.

    The largest p with P(Bin(n, p) > k) + w P(Bin(n, p) = k) <= error for k successes of n trials
    and a draw w, uniform on (0, 1]. What stands on the left is uniform on (0, 1] too, whatever p
    is: that is all of the proof. Since w <= 1 it is never below Clopper and Pearson's limit, which
    has w = 1, nor above theirs for k + 1. Where p is 1 no limit is wrong.

    Args:
        successes: (N,) k.
        trials: (N,) n.
        error: in (0, 1).
        uniform: (N,) w.

    Reference:
        Stevens, "Fiducial limits of the parameter of a discontinuous distribution", Biometrika
        1950; in randomized smoothing Voráček, "Treatment of statistical estimation problems in
        randomized smoothing for adversarial robustness", NeurIPS 2024.

    Example:
        >>> import numpy as np
        >>> from holdfast.statistics import lower_limit, randomised_lower_limit
        >>> k, n = np.array([90, 90, 90]), np.array([100, 100, 100])
        >>> randomised_lower_limit(k, n, 0.05, np.array([1.0, 0.5, 0.01])).round(3)
        array([0.836, 0.842, 0.848])
        >>> lower_limit(np.array([90, 91]), np.array([100, 100]), 0.05).round(3)
        array([0.836, 0.848])
    """
    k, others = successes, trials - successes
    low = lower_limit(k, trials, error)
    high = np.where(others > 0, lower_limit(k + 1, np.maximum(trials, k + 1), error), 1.0)
    for _ in range(60):
        middle = (low + high) / 2
        at_least = np.where(k > 0, betainc(np.maximum(k, 1), others + 1, middle), 1.0)
        more = np.where(others > 0, betainc(k + 1, np.maximum(others, 1), middle), 0.0)
        holds = more + uniform * (at_least - more) <= error
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    return np.asarray(np.minimum(low, np.nextafter(1.0, 0.0)))


def proportion_interval(
    successes: Counts | int, trials: Counts | int, confidence: float = 0.95
) -> tuple[Array, Array]:
    """Two-sided Clopper-Pearson intervals of fractions, such as an accuracy over test images.

    Example:
        >>> from holdfast.statistics import proportion_interval
        >>> low, high = proportion_interval(90, 100)  # 90 of 100 test images
        >>> round(float(low), 3), round(float(high), 3)
        (0.824, 0.951)
    """
    check_confidence(confidence)
    counts, of = np.asarray(successes), np.asarray(trials)
    error = (1 - confidence) / 2
    return lower_limit(counts, of, error), upper_limit(counts, of, error)


def beyond_chance(more: ArrayLike, fewer: ArrayLike) -> NDArray[np.bool_]:
    """Whether so many votes beside so few come less than once in 1,000 times from two equals.

    Example:
        >>> from holdfast.statistics import beyond_chance
        >>> beyond_chance([90, 51], [10, 49])
        array([ True, False])
    """
    votes, all_votes = np.asarray(more), np.add(more, fewer)
    return np.asarray(scipy.stats.binom.sf(votes - 1, all_votes, 0.5) < _CHANCE)


def check_confidence(confidence: float) -> None:
    """Raise `InputError` unless ``confidence`` lies strictly between 0 and 1.

    Example:
        >>> from holdfast.statistics import check_confidence
        >>> check_confidence(95)
        Traceback (most recent call last):
        holdfast.errors.InputError: confidence is 95, but must lie between 0 and 1, such as 0.95.
    """
    if not (math.isfinite(confidence) and 0 < confidence < 1):
        raise InputError(f"confidence is {confidence}, but must lie between 0 and 1, such as 0.95.")
