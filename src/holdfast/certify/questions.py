"""What one wants to know of certified radii, and when votes that go on have answered it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from scipy.special import log_ndtr, logsumexp, ndtr, ndtri, xlogy

from holdfast.certify.bounds.bound import Bound, possible, proven
from holdfast.certify.sampling import Sampling
from holdfast.certify.sequential import Sequential, Settled, votes_of_chosen
from holdfast.errors import InputError
from holdfast.statistics import Array, Counts

__all__ = ["AtLeast", "Within"]

#: Factors s_j of the other votes' probability, bet on beside what a question is after; p is told
#: to be below 1/2 by them.
_FACTORS = np.array([1.03, 1.1, 1.25, 1.6])

#: Probits beyond this one, at a probability of 1 - 1e-19, are not told apart.
_FAR = 9.0


@runtime_checkable
class Question(Protocol):
    """What one wants to know of a radius that lies between two others: when is it answered?

    Example:
        >>> from holdfast.certify import AtLeast
        >>> from holdfast.certify.questions import Question
        >>> isinstance(AtLeast((0.5,)), Question)
        True
    """

    def end(self, limits: Sequential, votes: Counts, n: Counts) -> Array:
        """(N,) the probability, after ``votes`` of ``n``, whose radius is the larger of the two.

        The smaller is that of the limit which is proven.
        """
        ...

    def __call__(self, lower: Array, upper: Array) -> Settled:
        """(N,) whether the answer is the same for all radii from ``lower`` to ``upper``."""
        ...


@dataclass(frozen=True)
class AtLeast:
    """Is the certified radius at least R, for each of some R?

    "Yes" is proven, with the confidence of the limits. "No" is that proving it would cost too much
    (`Sequential.hope`), and promises nothing.

    Attributes:
        radii: the R, positive.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import AtLeast
        >>> lower, upper = np.array([0.6, 0.1, 0.4]), np.array([0.9, 0.3, 0.7])
        >>> AtLeast((0.5,))(lower, upper)  # yes, no, not yet known
        array([ True,  True, False])
    """

    radii: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.radii or not all(0 < radius < np.inf for radius in self.radii):
            raise InputError(f"the radii are {self.radii}, but must be positive, and at least one.")

    def end(self, limits: Sequential, votes: Counts, n: Counts) -> Array:
        """What is worth drawing on for."""
        return limits.hope(votes, n)

    def __call__(self, lower: Array, upper: Array) -> Settled:
        """Whether no R lies between."""
        wanted = np.array(self.radii)
        undecided = (lower[:, None] < wanted) & (wanted <= upper[:, None])
        return np.asarray(~undecided.any(axis=1))


@dataclass(frozen=True)
class Within:
    """What is the certified radius, to within a factor?

    An image whose votes end before the last draw has a proven radius of at least ``factor`` times

    - that of the class's true probability, which no number of votes could exceed,
    - or what the last draw would prove if all votes still to come agreed, if that is less.

    The first holds with probability at least ``confidence`` of the limits: a promise with an error
    of its own, beside that of the certificate, so that both hold with 1 - 2 (1 - confidence).

    Attributes:
        factor: fraction of the radius that must be proven, in (0, 1).
        between: what radii are told apart; one beyond counts as the nearer end. Images at the edge
            of another class, and those that are certain, take most of the votes otherwise.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import Within
        >>> Within(0.9)(np.array([0.95, 0.5]), np.array([1.0, 1.0]))
        array([ True, False])
        >>> Within(0.9, between=(0.1, 0.5))(np.array([0.95, 0.5]), np.array([1.0, 1.0]))
        array([ True,  True])
    """

    factor: float
    between: tuple[float, ...] = (0.0, np.inf)

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise InputError(
                f"the radius is to be known within {self.factor}, but that is a factor "
                "between 0 and 1."
            )
        if len(self.between) != 2 or not 0 <= self.between[0] < self.between[1]:
            raise InputError(
                f"radii are told apart between {', '.join(f'{end:g}' for end in self.between)}, "
                "but that is two radii, the smaller first, such as 0.25 and 1.5."
            )

    def end(self, limits: Sequential, votes: Counts, n: Counts) -> Array:
        """The most that is possible: an upper limit that holds at all n at once, or the last's."""
        # At the moment that it ends, votes are about half way between the two limits.
        aim = (1 + self.factor) / 2
        upper = upper_sequence(votes, n, 1 - limits.confidence, aim)
        return np.minimum(upper, limits.best(votes, n))

    def __call__(self, lower: Array, upper: Array) -> Settled:
        """Whether the proven radius is that fraction of any that is still possible."""
        least, most = self.between
        return np.asarray(np.clip(lower, least, most) >= self.factor * np.clip(upper, least, most))


def log_upper_martingale(votes: Counts, n: Counts, z: Array, aim: float) -> Array:
    """The logarithm of what `upper_sequence` compares with 1 / error, at q = Φ(z), z >= 0.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify.questions import log_upper_martingale
        >>> log_upper_martingale(np.array([500]), np.array([1000]), np.array([0.5]), 0.95) > 20
        array([ True])
    """
    others = n - votes
    rest = ndtr(-z)  # 1 - q
    probit = votes * (log_ndtr(aim * z) - log_ndtr(z)) + others * (
        log_ndtr(-aim * z) - log_ndtr(-z)
    )
    s = _FACTORS.reshape(-1, *[1] * rest.ndim)
    ratios = xlogy(votes, np.maximum(1 - s * rest, 0)) - votes * log_ndtr(z) + others * np.log(s)
    weights = np.array([0.5, *np.full(len(_FACTORS), 0.5 / len(_FACTORS))])
    every = np.concatenate([probit[None], ratios])
    return np.asarray(logsumexp(every + np.log(weights).reshape(-1, *[1] * rest.ndim), axis=0))


def upper_sequence(votes: Counts, n: Counts, error: float, aim: float) -> Array:
    """(N,) upper limits of the larger of p and 1/2 that hold after every draw at once.

    As in `Sequential`, but against the claim that a vote's probability is q = Φ(z), z >= 0, or
    more. Half of the bet is on p being Φ(aim · z), aim in (0, 1), whose radius by Cohen's bound is
    that part of the claim's; the other half is on 1 - p being s_j (1 - q), for some s_j > 1. The
    mixed likelihood ratio M_n(q) is a nonnegative martingale of mean 1 if p = q. So with
    probability at least 1 - error the true p never has M_n(p) >= 1 / error, and what is returned is
    the largest q that has not.

    From the votes' fraction f on M_n rises with q, so that there is one such q. The ratios of the
    s_j do everywhere. The logarithm of the other is n (K(z) - K(aim z)), with K(z) the divergence
    of Φ(z) from f. K' is h(z) (Φ(z) - f), and h = φ / (Φ (1 - Φ)) rises for z >= 0; so K'(z) is
    above aim K'(aim z) if Φ(aim z) >= f, and otherwise the latter is negative.

    Args:
        votes: (N,) of the class.
        n: (N,) draws.
        error: of all n together, in (0, 1).
        aim: in (0, 1).

    Example:
        >>> import numpy as np
        >>> from holdfast.certify.questions import upper_sequence
        >>> bool(0.92 < upper_sequence(np.array([900]), np.array([1000]), 0.05, 0.95)[0] < 0.94)
        True
    """
    inside = np.clip(ndtri(votes / n), 0, _FAR)
    outside = np.full(len(n), _FAR)
    for _ in range(60):
        middle = (inside + outside) / 2
        out = log_upper_martingale(votes, n, middle, aim) >= -np.log(error)
        outside, inside = np.where(out, middle, outside), np.where(out, inside, middle)
    return np.asarray(ndtr(outside))


def answered(
    questions: Sequence[Question], limits: Sequential, bounds: Sequence[Bound], sigma: float
) -> Callable[[Sampling], Settled]:
    """Whether a sampling answers all questions about the radii of all bounds.

    Args:
        questions: what one wants to know of the radius that will have been proven in the end.
        limits: the confidence sequence, which knows when sampling ends.
        bounds: make radii of its limits.
        sigma: of the noise.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import AtLeast, Sampling, Sequential, cohen_radius
        >>> from holdfast.certify.questions import answered
        >>> settled = answered([AtLeast((0.1,))], Sequential(0.95, most=1000), [cohen_radius], 0.25)
        >>> settled(Sampling(np.array([[100, 0]]), choice=np.array([[10, 0]])))
        array([ True])
    """

    def settled(sampling: Sampling) -> Settled:
        # Many images have the same votes.
        every = np.stack([votes_of_chosen(sampling), sampling.n])
        (votes, n), place = np.unique(every, axis=1, return_inverse=True)
        found = np.ones(len(n), dtype=bool)
        lower = limits.lower(votes, n)
        for question in questions:
            end = question.end(limits, votes, n)
            for bound in bounds:
                low = proven(bound, lower, 1 - lower, sigma)
                high = possible(bound, end, 1 - end, sigma)
                found &= question(low, high)
        return np.asarray(found[place.ravel()])

    return settled
