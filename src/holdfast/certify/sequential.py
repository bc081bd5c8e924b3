"""Sampling that stops as soon as the answer is known, at the same guaranteed confidence.

A confidence interval for a fixed number of draws no longer holds if its result decides when to
stop. A confidence sequence does: with the stated probability it holds after every draw at once, so
it holds whenever one stops, for whatever reason.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betaln, xlog1py, xlogy

from holdfast.certify.bound import Array, Bound, proven
from holdfast.certify.intervals import Limits, check_confidence, lower_limit, upper_limit
from holdfast.certify.sampling import Counts, Sampling, choose
from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.types import Images, Model
from holdfast.votes import take_votes

Settled = NDArray[np.bool_]

#: The mixture's Beta(a, b): half of its mass lies above 0.999, where the votes are that certify.
_A, _B = 1.0, 0.1

#: The chance at one look of giving an image up that drawing to the end would have proven.
_RESIGNATION = 0.05

_FIRST_LOOK, _GROWTH = 16, 1.2


@dataclass(frozen=True)
class Sequential:
    """Limits of the chosen class's probability that hold after every draw at once.

    n0 draws choose the class. Had each of its k votes in n further draws probability q, then

        M_n(q) = ∫ p^k (1 - p)^(n-k) dBeta(p; a, b) / (q^k (1 - q)^(n-k))
               = B(a + k, b + n - k) / B(a, b) / (q^k (1 - q)^(n-k))

    would be a nonnegative martingale of mean 1, which ever reaches 1 / error with probability at
    most ``error`` = 1 - confidence (Ville's inequality). The q for which it stays below form an
    interval [lower, upper], and with probability at least ``confidence`` the true probability lies
    in it at every n. p1 is the lower end, and p2 = 1 - p1. When all n votes agree p1 is about
    (n^-b error)^(1/n); a fixed n allows error^(1/n).

    Attributes:
        confidence: of both ends and all n together, in (0, 1).

    Reference:
        Ville 1939; Robbins, "Statistical methods related to the law of the iterated logarithm",
        1970; Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic
        confidence sequences", 2021. As a bet against q: Waudby-Smith and Ramdas, "Estimating means
        of bounded random variables by betting", 2024. In randomized smoothing: Voráček,
        "Treatment of statistical estimation problems in randomized smoothing", 2024, which uses
        other sequences.
    """

    confidence: float
    most: int | None = None
    chooses: ClassVar[bool] = True
    guaranteed: ClassVar[bool] = True
    of_votes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_confidence(self.confidence)

    @property
    def error(self) -> float:
        """Of the sequence, and of the limit at the end."""
        return (1 - self.confidence) / (1 if self.most is None else 2)

    def __call__(self, sampling: Sampling) -> Limits:
        """The limits for every image."""
        lower, _ = self.ends(sampling)
        return Limits(_chosen(sampling), lower, 1 - lower)

    def ends(self, sampling: Sampling) -> tuple[Array, Array]:
        """(N,) lower and (N,) upper limits of the chosen class's probability, both at once."""
        votes, n = _votes(sampling), sampling.n
        lower, upper = confidence_sequence(votes, n, self.error)
        ended = np.zeros(len(n), dtype=bool) if self.most is None else n == self.most
        at_end = np.maximum(lower, lower_limit(votes, n, self.error))
        return np.where(ended, at_end, lower), upper

    def hope(self, sampling: Sampling) -> tuple[Array, Array]:
        """(N,) proven lower limits, and (N,) those that drawing to the end can be hoped to prove.

        The hope is that the further draws come at a limit above which the probability hardly is.
        It only decides when to give up, so nothing false follows if it is too small.
        """
        if self.most is None:
            raise InputError("say by most how many draws there may be at the most.")
        lower, _ = self.ends(sampling)
        upper = upper_limit(_votes(sampling), sampling.n, _RESIGNATION)
        left = self.most - sampling.n
        votes = _votes(sampling) + np.floor(upper * left).astype(np.int64)
        end = np.full_like(votes, self.most)
        return lower, np.maximum(lower, lower_limit(votes, end, self.error))


def log_martingale(votes: Counts, n: Counts, q: Array) -> Array:
    """Log M_n(q) of `Sequential`, elementwise."""
    mixed = betaln(_A + votes, _B + n - votes) - betaln(_A, _B)
    return mixed - xlogy(votes, q) - xlog1py(n - votes, -q)


def confidence_sequence(votes: Counts, n: Counts, error: float) -> tuple[Array, Array]:
    """The interval of the q with M_n(q) < 1 / error, widened by less than its rounding.

    As a function of q, M_n falls until q = k / n and rises from there on, so each end is found by
    bisection; of its last bracket the outer side is returned.
    """
    # Many images have the same votes.
    pairs, place = np.unique(np.stack([votes, n]), axis=1, return_inverse=True)
    (votes, n), place = pairs, place.ravel()
    ends = []
    for extreme in (0.0, 1.0):
        outside, inside = np.full(len(n), extreme), votes / n
        for _ in range(60):
            middle = (outside + inside) / 2
            out = log_martingale(votes, n, middle) >= -np.log(error)
            outside, inside = np.where(out, middle, outside), np.where(out, inside, middle)
        ends.append(outside[place])
    return ends[0], ends[1]


@runtime_checkable
class Question(Protocol):
    """What one wants to know of a radius that lies between two others: when is it answered?"""

    def __call__(self, lower: Array, upper: Array) -> Settled:
        """(N,) whether the answer is the same for all radii from ``lower`` to ``upper``."""
        ...


@dataclass(frozen=True)
class AtLeast:
    """Is the certified radius at least R, for each of some R?

    Attributes:
        radii: the R, positive.
    """

    radii: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.radii or not all(0 < radius < np.inf for radius in self.radii):
            raise InputError(f"the radii are {self.radii}, but must be positive, and at least one.")

    def __call__(self, lower: Array, upper: Array) -> Settled:
        """Whether no R lies between."""
        wanted = np.array(self.radii)
        undecided = (lower[:, None] < wanted) & (wanted <= upper[:, None])
        return np.asarray(~undecided.any(axis=1))


@dataclass(frozen=True)
class Within:
    """What is the certified radius, to within a factor?

    Attributes:
        factor: share of the radius that must be proven, in (0, 1).
    """

    factor: float

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise InputError(f"the factor is {self.factor}, but must lie between 0 and 1.")

    def __call__(self, lower: Array, upper: Array) -> Settled:
        """Whether the proven radius is that share of any that is still possible."""
        return np.asarray(lower >= self.factor * upper)


def answered(
    questions: Sequence[Question], limits: Sequential, bounds: Sequence[Bound], sigma: float
) -> Callable[[Sampling], Settled]:
    """Whether a sampling answers all questions about the radii of all bounds.

    Args:
        questions: what one wants to know of the radius that will have been proven in the end.
        limits: the confidence sequence, which knows when sampling ends.
        bounds: make radii of its limits.
        sigma: of the noise.
    """

    def settled(sampling: Sampling) -> Settled:
        found = np.ones(len(sampling.counts), dtype=bool)
        ends = limits.hope(sampling)
        for bound in bounds:
            low, high = (proven(bound, p, 1 - p, sigma) for p in ends)
            for question in questions:
                found &= question(low, high)
        return found

    return settled


def sample_until(
    settled: Callable[[Sampling], Settled],
    model: Model,
    x: Images,
    rng: Stream,
    *,
    n: int,
    n0: int,
    batch_size: int = 128,
) -> Sampling:
    """Ask a noisy classifier about every image until its question is settled, or n times.

    The draws of an image are those of `sample`, in the same order: stopping only leaves some out.

    Args:
        settled: tells which images of a sampling need no more draws.
        model: noise and network, in evaluation mode.
        x: (N, C, H, W) images in [0, 1].
        rng: keyed by image.
        n: most draws that are counted, at least 1.
        n0: draws before those that choose the class, at least 1.
        batch_size: noisy images in one forward pass; of no consequence for the result.
    """
    choice = choose(model, x, rng, n0=n0, batch_size=batch_size)
    counts, sums = np.zeros_like(choice), np.zeros(choice.shape)
    going = np.arange(len(x))
    for first, last in looks(n):
        place = torch.from_numpy(going).to(x.device)
        votes = take_votes(
            model, x[place], rng.take(place), n=last - first, first=first, batch_size=batch_size
        )
        counts[going] += votes.counts.cpu().numpy()
        sums[going] += votes.scores.double().cpu().numpy() * (last - first)
        going = going[~settled(Sampling(counts[going], None, choice[going]))]
        if not len(going):
            break
    return Sampling(counts, sums / counts.sum(axis=1, keepdims=True), choice)


def looks(n: int) -> Iterator[tuple[int, int]]:
    """The draws between one look at the votes and the next, ever more of them: (first, last)."""
    first, last = 0, min(_FIRST_LOOK, n)
    while first < n:
        yield first, last
        first, last = last, min(int(np.ceil(_GROWTH * last)), n)


def _chosen(sampling: Sampling) -> Counts:
    if sampling.choice is None:
        raise InputError("a confidence sequence needs draws that choose the class: give n0.")
    return sampling.choice.argmax(axis=1)


def _votes(sampling: Sampling) -> Counts:
    """(N,) votes for the chosen class."""
    return np.take_along_axis(sampling.counts, _chosen(sampling)[:, None], axis=1)[:, 0]
