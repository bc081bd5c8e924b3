"""Sampling that stops as soon as the answer is known, at the same guaranteed confidence.

A confidence interval for a fixed number of draws no longer holds if its result decides when to
stop. A confidence sequence does: with the stated probability it holds after every draw at once, so
it holds whenever one stops, for whatever reason.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp, xlog1py, xlogy

from holdfast.certify.intervals.interval import INTERVALS, Limits
from holdfast.certify.sampling import Sampling, choose
from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.statistics import Array, Counts, check_confidence, lower_limit, upper_limit
from holdfast.types import Images, Model
from holdfast.votes import Heard, check_numbers, take_votes

__all__ = ["Sequential"]

Settled = NDArray[np.bool_]

#: The fractions t_j, and the weights with which they are mixed: most goes to t = 0, for votes that
#: all agree, and to the narrow cases, which take most of the votes.
_FRACTIONS = np.array([0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97])
_WEIGHTS = np.array([3, 1, 1, 1, 2, 2, 1]) / 11

#: Of the error, the part that is kept for the limit at the last draw.
_AT_END = 0.25

#: The chance of proving more that further draws must have: ``_HOPELESS`` for a few of them, and in
#: proportion to their number, ``_PRICE`` for as many as there may be at the most.
_HOPELESS, _PRICE = 0.001, 0.02

#: Smaller chances are not told apart.
_NEVER = 1e-15

#: Draws that are weighed, beside all that are left: so many times those so far.
_AHEAD = (0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)

#: From one look to the next: this fraction more draws, and at least so many.
_GROWTH, _LEAST = 0.05, 16


@INTERVALS.named("sequential")
@dataclass(frozen=True)
class Sequential:
    """Lower limits of the chosen class's probability that hold after every draw at once.

    n0 draws choose the class. It then has k of n further votes. Against the claim that a vote's
    probability is q or less, bet on its being p_j with 1 - p_j = t_j (1 - q), the other votes
    being only a fraction t_j as likely. The likelihood ratios, mixed over some t_j in [0, 1),

        M_n(q) = Σ_j w_j (p_j / q)^k t_j^(n-k),  Σ_j w_j = 1,

    is a nonnegative supermartingale of mean 1 or less whenever the claim is true, so that it ever
    reaches 1 / error with probability at most ``error`` (Ville's inequality). It falls with q. p1
    is where it crosses 1 / error, and p2 = 1 - p1: with probability at least ``confidence`` all
    true, whenever one stops. When all n votes agree p1 is about (3 error / 11)^(1/n), by the weight
    on t = 0; a fixed n allows error^(1/n).

    With ``most`` draws the last of them has a limit of its own, Clopper and Pearson's, for which
    a quarter of the error is kept.

    When:
        Where many images are clear after few votes: certify up to a radius of interest, or to a
        share of the largest.

    When not:
        For the largest radius of each image: a fixed n of `TwoSample` proves a little more from as
        many votes.

    Traps:
        Limits for a fixed n that are looked at again and again hold no longer; these do. Sampling
        stops at the radii that are asked for, so a mean radius over images is no mean of what they
        could have had.

    Attributes:
        confidence: of all n together, in (0, 1).
        most: draws at which sampling ends, if it has not before; None if it may go on for ever, and
            then comes to within about 1.5 % of the other classes' probability, by the largest t_j.

    Reference:
        Ville 1939; Wald, "Sequential tests of statistical hypotheses", 1945; Robbins, "Statistical
        methods related to the law of the iterated logarithm", 1970. As bets: Waudby-Smith and
        Ramdas, "Estimating means of bounded random variables by betting", 2024. In randomized
        smoothing: Voráček, "Treatment of statistical estimation problems in randomized smoothing",
        2024, which uses other sequences.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import Sampling, Sequential
        >>> sampling = Sampling(np.array([[0, 100, 0]]), choice=np.array([[0, 10, 0]]))
        >>> top, p1, p2 = Sequential(0.95)(sampling)
        >>> top, bool(0.9 < p1[0] < 1)
        (array([1]), True)
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
        lower = self.lower(votes_of_chosen(sampling), sampling.n)
        return Limits(_chosen(sampling), lower, 1 - lower)

    def lower(self, votes: Counts, n: Counts) -> Array:
        """(N,) lower limits of the probability of a class that has (N,) ``votes`` of ``n``."""
        if self.most is None:
            return lower_sequence(votes, n, 1 - self.confidence)
        limit = lower_sequence(votes, n, (1 - _AT_END) * (1 - self.confidence))
        last = n == self.most
        at_end = lower_limit(votes[last], n[last], _AT_END * (1 - self.confidence))
        limit[last] = np.maximum(limit[last], at_end)
        return limit

    def hope(self, votes: Counts, n: Counts) -> Array:
        """(N,) the lower limits that are worth drawing on for.

        For a number m of further draws, that is the limit they prove with a chance of 2 % m / most,
        0.1 % at least; the largest over some m up to all that are left counts. So a clear case is
        pursued at little hope, and an image at the edge only while a certificate costs no more than
        50 times ``most`` draws. A chance is that of one-sided confidence limits at z, widened to
        z √((n + m) / m) since the draws vary too. It only decides when to give up; nothing false
        follows if it is wrong.
        """
        ahead = np.minimum(np.outer((*_AHEAD, np.inf), n), self._most - n).astype(np.int64)
        chance = np.maximum(_HOPELESS, _PRICE * ahead / self._most)
        normal, spread = scipy.stats.norm, np.sqrt((n + ahead) / np.maximum(ahead, 1))
        chance = normal.sf(normal.isf(chance) * spread)
        chance = np.maximum(chance, _NEVER)
        further = np.floor(upper_limit(votes, n, chance) * ahead).astype(np.int64)
        limits = self.lower((votes + further).ravel(), (n + ahead).ravel())
        return np.asarray(limits.reshape(ahead.shape).max(axis=0))

    def best(self, votes: Counts, n: Counts) -> Array:
        """(N,) the lower limits at the last draw if all further votes agree."""
        return self.lower(votes + self._most - n, np.full_like(n, self._most))

    @property
    def _most(self) -> int:
        if self.most is None:
            raise InputError("say by most how many draws there may be at the most.")
        return self.most


def log_martingale(votes: Counts, n: Counts, q: Array) -> Array:
    """Log M_n(q) of `Sequential`, elementwise.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify.sequential import log_martingale
        >>> votes, n, q = np.array([100, 50]), np.array([100, 100]), np.array([0.5, 0.5])
        >>> log_martingale(votes, n, q) > np.log(20)  # 100 of 100 disprove that q is 0.5 or less
        array([ True, False])
    """
    each = (-1, *[1] * np.broadcast(votes, n, q).ndim)
    t, weights = _FRACTIONS.reshape(each), _WEIGHTS.reshape(each)
    ratios = xlog1py(votes, -t * (1 - q)) - xlogy(votes, q) + xlogy(n - votes, t)
    return np.asarray(logsumexp(ratios + np.log(weights), axis=0))


def lower_sequence(votes: Counts, n: Counts, error: float) -> Array:
    """(N,) the largest q with M_n(q) >= 1 / error, or less by no more than rounding.

    M_n falls with q, and is at most 1 from q = k / n on.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify.sequential import lower_sequence
        >>> bool(0.9 < lower_sequence(np.array([100]), np.array([100]), 0.05)[0] < 1)
        True
    """
    # Many images have the same votes.
    pairs, place = np.unique(np.stack([votes, n]), axis=1, return_inverse=True)
    votes, n = pairs
    outside, inside = np.zeros(len(n)), votes / n
    for _ in range(60):
        middle = (outside + inside) / 2
        out = log_martingale(votes, n, middle) >= -np.log(error)
        outside, inside = np.where(out, middle, outside), np.where(out, inside, middle)
    return outside[place.ravel()]


def sample_until(
    settled: Callable[[Sampling], Settled],
    model: Model,
    x: Images,
    rng: Stream,
    *,
    n: int,
    n0: int,
    batch_size: int = 128,
    heard: Heard | None = None,
) -> Sampling:
    """Ask a smoothed classifier about every image until its question is settled, or n times.

    The draws of an image are those of `sample`, in the same order: stopping only leaves some out.

    Args:
        settled: tells which images of a sampling need no more draws.
        model: noise and network, in evaluation mode.
        x: (N, C, H, W) images in [0, 1].
        rng: keyed by image.
        n: most draws that are counted, at least 1.
        n0: draws before those that choose the class, at least 1.
        batch_size: noisy images in one forward pass; of no consequence for the result.
        heard: told about every forward pass.

    Example:
        >>> import numpy as np
        >>> from torch import nn
        >>> from holdfast.certify.sequential import sample_until
        >>> from holdfast.defenses import GaussianNoise
        >>> from holdfast.random import Stream
        >>> noisy = nn.Sequential(GaussianNoise(0.25), model).eval()
        >>> def enough(sampling):
        ...     return sampling.n >= 20
        >>> sampling = sample_until(enough, noisy, x, Stream.of(0, torch.arange(4)), n=1000, n0=10)
        >>> sampling.n
        array([32, 32, 32, 32])
    """
    choice = choose(model, x, rng, n0=n0, batch_size=batch_size, heard=heard)
    counts, sums = np.zeros_like(choice), np.zeros(choice.shape)
    going = np.arange(len(x))
    for first, last in looks(n):
        place = torch.from_numpy(going).to(x.device)
        votes = take_votes(
            model,
            x[place],
            rng.take(place),
            n=last - first,
            first=first,
            batch_size=batch_size,
            heard=heard,
        )
        check_numbers(votes, rng.take(place).index, "noise")
        counts[going] += votes.counts.cpu().numpy()
        sums[going] += votes.scores.double().cpu().numpy() * (last - first)
        going = going[~settled(Sampling(counts[going], None, choice[going]))]
        if not len(going):
            break
    return Sampling(counts, sums / counts.sum(axis=1, keepdims=True), choice)


def looks(n: int) -> Iterator[tuple[int, int]]:
    """The draws between one look at the votes and the next, ever more of them: (first, last).

    Example:
        >>> from holdfast.certify.sequential import looks
        >>> list(looks(40))
        [(0, 16), (16, 32), (32, 40)]
    """
    first = 0
    while first < n:
        last = min(first + max(int(_GROWTH * first), _LEAST), n)
        yield first, last
        first = last


def _chosen(sampling: Sampling) -> Counts:
    if sampling.choice is None:
        raise InputError(
            "a confidence sequence needs draws that choose the class: give selection_votes."
        )
    return sampling.choice.argmax(axis=1)


def votes_of_chosen(sampling: Sampling) -> Counts:
    """(N,) votes for the class that the first draws chose.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import Sampling
        >>> from holdfast.certify.sequential import votes_of_chosen
        >>> votes_of_chosen(Sampling(np.array([[3, 90, 7]]), choice=np.array([[0, 10, 0]])))
        array([90])
    """
    return np.take_along_axis(sampling.counts, _chosen(sampling)[:, None], axis=1)[:, 0]
