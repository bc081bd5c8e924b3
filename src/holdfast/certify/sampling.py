"""What one sampling of a smoothed classifier gave: the evidence that every interval reads."""

from dataclasses import dataclass

import numpy as np

from holdfast.random import Stream
from holdfast.statistics import Array, Counts
from holdfast.types import Images, Model
from holdfast.votes import Heard, check_numbers, take_votes

__all__ = ["Sampling"]


@dataclass(frozen=True)
class Sampling:
    """The answers of n draws for each of N images.

    Attributes:
        counts: (N, K) votes of the n draws.
        scores: (N, K) mean softmax of the same draws; None if nobody took them.
        choice: (N, K) votes of n0 draws before those, which only choose a class; None without.
        uniform: (N,) one draw of each image in (0, 1], independent of its votes, for limits that
            are randomised; None if nobody took them.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import Sampling
        >>> sampling = Sampling(counts=np.array([[3, 90, 7]]))  # (N, K)
        >>> sampling.n, sampling.classes
        (array([100]), 3)
    """

    counts: Counts
    scores: Array | None = None
    choice: Counts | None = None
    uniform: Array | None = None

    @property
    def n(self) -> Counts:
        """(N,) draws of each image, without those that chose a class."""
        return self.counts.sum(axis=1)

    @property
    def classes(self) -> int:
        """The number of classes K."""
        return self.counts.shape[1]

    @classmethod
    def unanimous(cls, n: int, classes: int) -> "Sampling":
        """The best that n draws of one image can give: all for class 0, with certainty.

        Limits that are randomised are the lowest that they can be for these votes.
        """
        counts = np.zeros((1, classes), dtype=np.int64)
        counts[:, 0] = n
        return cls(counts, counts / n, counts, np.ones(1))


def sample(
    model: Model,
    x: Images,
    rng: Stream,
    *,
    n: int,
    n0: int = 0,
    batch_size: int = 128,
    heard: Heard | None = None,
) -> Sampling:
    """Ask a smoothed classifier n times about every image, in batches of images and draws.

    Args:
        model: noise and network, in evaluation mode.
        x: (N, C, H, W) images in [0, 1].
        rng: keyed by image.
        n: draws that are counted, at least 1.
        n0: draws before those that only choose a class; 0 for none.
        batch_size: noisy images in one forward pass; of no consequence for the result.
        heard: told about every forward pass.

    Example:
        >>> from torch import nn
        >>> from holdfast.certify.sampling import sample
        >>> from holdfast.defenses import GaussianNoise
        >>> from holdfast.random import Stream
        >>> noisy = nn.Sequential(GaussianNoise(0.25), model).eval()
        >>> sampling = sample(noisy, x, Stream.of(0, torch.arange(4)), n=50, n0=10)
        >>> sampling.n, sampling.choice.sum(axis=1)
        (array([50, 50, 50, 50]), array([10, 10, 10, 10]))
    """
    choice = choose(model, x, rng, n0=n0, batch_size=batch_size, heard=heard) if n0 else None
    votes = take_votes(model, x, rng, n=n, batch_size=batch_size, heard=heard)
    check_numbers(votes, rng.index, "noise")
    counts, scores = votes.counts, votes.scores
    return Sampling(counts.cpu().numpy(), scores.double().cpu().numpy(), choice, uniform_draws(rng))


def uniform_draws(rng: Stream) -> Array:
    """(N,) a draw in (0, 1] of each image, which depends on no other and on none of its votes.

    Rounded up to a multiple of 2^-24, so that none is smaller with more than its probability.

    Example:
        >>> from holdfast.certify.sampling import uniform_draws
        >>> from holdfast.random import Stream
        >>> both, alone = (
        ...     uniform_draws(Stream.of(0, torch.tensor(index))) for index in ([5, 17], [17])
        ... )
        >>> bool(both[1] == alone[0])
        True
    """
    drawn = rng.fold("limit").uniform((1,)).flatten()  # multiples of 2^-24 in [0, 1)
    return np.asarray(drawn.cpu().numpy(), dtype=np.float64) + 2.0**-24


def choose(
    model: Model,
    x: Images,
    rng: Stream,
    *,
    n0: int,
    batch_size: int = 128,
    heard: Heard | None = None,
) -> Counts:
    """The (N, K) votes of n0 draws that are independent of those of `sample`.

    Example:
        >>> from torch import nn
        >>> from holdfast.certify.sampling import choose
        >>> from holdfast.defenses import GaussianNoise
        >>> from holdfast.random import Stream
        >>> noisy = nn.Sequential(GaussianNoise(0.25), model).eval()
        >>> choose(noisy, x, Stream.of(0, torch.arange(4)), n0=10).sum(axis=1)
        array([10, 10, 10, 10])
    """
    votes = take_votes(model, x, rng.fold("choose"), n=n0, batch_size=batch_size, heard=heard)
    check_numbers(votes, rng.index, "noise")
    return np.asarray(votes.counts.cpu())
