"""Votes: what a classifier answers over many draws of its own randomness (Algorithm 1, 1 to 5).

One sampling pass gives the hard votes, which the Rényi and Cohen bounds take, and the mean scores,
which PixelDP takes. The evaluator and the certificates share it, so the classifier that is attacked
is the one that is certified.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from holdfast.ahead import batches_of_copies
from holdfast.errors import InputError, ModelError
from holdfast.goals import logits_of
from holdfast.parameters import at_least_one
from holdfast.random import (
    Stream,
    drawing_from,
    hash_seed,
    kept_global_generators,
    layer_stream,
    seed_every_generator,
)
from holdfast.tensors import rank_of, widest
from holdfast.types import Images, Labels, Logits, Model

__all__ = [
    "Heard",
    "MeanScore",
    "Vote",
    "Votes",
    "check_numbers",
    "take_votes",
    "take_votes_apart",
]


#: Told after each forward pass how many votes it was.
Heard = Callable[[int], None]


class Votes(NamedTuple):
    """The answers of n draws for N images and K classes.

    Example:
        >>> from holdfast.random import Stream
        >>> from holdfast.votes import take_votes
        >>> votes = take_votes(model, x, Stream.of(0, torch.arange(4)), n=1)
        >>> votes.counts.sum(dim=1), bool((votes.scores.sum(dim=1).round(decimals=6) == 1).all())
        (tensor([1, 1, 1, 1]), True)
    """

    counts: Int[Tensor, "n k"]  # hard votes; they sum to n
    scores: Float[Tensor, "n k"]  # mean of the softmax, float64 where the device has it
    logits: Logits | None = None  # the answer, if there is one

    def rank(self, y: Labels) -> Int[Tensor, " n"]:
        """(N,) the label's rank by votes, and where they are equal by probability; 0 is first.

        That of one answer is by its logits: of those 745 apart the probability of the lower is 0 in
        float64, and classes of probability 0 are level.
        """
        if self.logits is None:
            return rank_of(self.counts + self.scores / 2, y)
        second = self.counts.argmax(dim=1) != y  # a label that is level with the class of the vote
        return torch.maximum(rank_of(self.logits, y), second.long())

    def among(self, y: Labels, top: int) -> Bool[Tensor, " n"]:
        """(N,) whether the label comes first, or is among so many."""
        right = self.counts.argmax(dim=1) == y
        return right if top == 1 else right | (self.rank(y) < top)


@torch.no_grad()
def take_votes(
    model: Model,
    x: Images,
    rng: Stream,
    *,
    n: int = 1,
    first: int = 0,
    batch_size: int = 128,
    heard: Heard | None = None,
) -> Votes:
    """Ask the model ``n`` times about every image.

    Args:
        model: maps images to logits (N, K), in evaluation mode; its stochastic layers draw from
            ``rng``.
        x: (N, C, H, W) images in [0, 1].
        rng: keyed by image; every vote is a copy of it.
        n: number of votes, at least 1; 1 is all that a deterministic model needs.
        first: number of the first draw, to go on where earlier votes stopped.
        batch_size: images in one forward pass; of no consequence for the result.
        heard: told about every forward pass.

    Returns:
        Hard votes and mean scores.

    Raises:
        InputError: if n is below 1.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import GaussianNoise
        >>> from holdfast.random import Stream
        >>> from holdfast.votes import take_votes
        >>> noisy = nn.Sequential(GaussianNoise(0.25), model)
        >>> votes = take_votes(noisy, x, Stream.of(0, torch.arange(4)), n=20)
        >>> votes.counts.shape, votes.counts.sum(dim=1)  # (N, K)
        (torch.Size([4, 3]), tensor([20, 20, 20, 20]))
    """
    at_least_one(n=n)
    parts = []
    with kept_global_generators(x.device):
        for images in torch.arange(len(x), device=x.device).split(batch_size):
            counts: Tensor | int = 0
            scores: Tensor | int = 0
            logits: Tensor | None = None
            some, shown = rng.take(images), x[images]
            number = int(some.index[0])  # here, since to read it makes a GPU wait
            at_once = max(1, batch_size // len(images))
            for start, copies in batches_of_copies(some, first, first + n, at_once):
                count = len(copies) // len(images)
                repeated = shown.repeat(count, *[1] * (x.dim() - 1))
                seed_every_generator(hash_seed(copies.key, number, start), x.device)
                with drawing_from(copies):
                    logits = logits_of(model, repeated)
                hard = torch.nn.functional.one_hot(logits.argmax(dim=1), logits.shape[1])
                soft = logits.softmax(dim=1, dtype=widest(x.device))
                counts = counts + hard.unflatten(0, (count, -1)).sum(dim=0)
                scores = scores + soft.unflatten(0, (count, -1)).sum(dim=0)
                if heard is not None:
                    heard(len(repeated))
            parts.append((counts, scores, logits if n == 1 else None))
    return Votes(
        torch.cat([torch.as_tensor(counts) for counts, _, _ in parts]),
        torch.cat([torch.as_tensor(scores) for _, scores, _ in parts]) / n,
        _joined([logits for _, _, logits in parts]),
    )


def _joined(answers: Sequence[Tensor | None]) -> Tensor | None:
    """The answers to several batches, if each had one."""
    each = [logits for logits in answers if logits is not None]
    return torch.cat(each) if each else None


def check_numbers(votes: Votes, index: Tensor, purpose: str) -> None:
    """Raise where an answer was no number: of NaN the largest is always the same class.

    Args:
        votes: that were taken.
        index: (N,) numbers of the images.
        purpose: what they were taken under.

    Raises:
        ModelError: if the mean scores of an image are no numbers.

    Example:
        >>> from holdfast.votes import Votes, check_numbers
        >>> nan = torch.full((1, 3), float("nan"))
        >>> check_numbers(Votes(torch.tensor([[5, 0, 0]]), nan), torch.tensor([17]), "noise")
        Traceback (most recent call last):
        holdfast.errors.ModelError: the model returned NaN for image 17 under noise; ...
    """
    bad = votes.scores.isnan().any(dim=1)
    if bad.any():
        raise ModelError(
            f"the model returned NaN for image {int(index[int(bad.int().argmax())])} under "
            f"{purpose}; a model must give a number for every image in [0, 1]."
        )


def take_votes_apart(
    model: Model, x: Images, rng: Stream, *, n: int, batch_size: int = 128
) -> Votes:
    """As `take_votes`, about no image in the company that it was attacked in.

    How a network rounds depends on the batch, and so may what it says of an image at the very
    boundary: such a success must not count. Every second image is asked about together, and the
    first of them twice, as in no attack's batch, even of one image.

    Example:
        >>> from holdfast.random import Stream
        >>> from holdfast.votes import take_votes, take_votes_apart
        >>> rng = Stream.of(0, torch.arange(4))
        >>> apart, together = take_votes_apart(model, x, rng, n=1), take_votes(model, x, rng)
        >>> bool((apart.counts == together.counts).all())
        True
    """
    place = torch.arange(len(x), device=x.device)
    halves = [half for half in (place[::2], place[1::2]) if len(half)]
    parts = [
        take_votes(
            model,
            x[part],
            rng.take(part),
            n=n,
            batch_size=max(batch_size, 2 * len(part)),  # as many passes as undivided
        )
        for part in (torch.cat([half[:1], half]) for half in halves)
    ]
    back = torch.cat(halves).argsort()
    logits = _joined([None if part.logits is None else part.logits[1:] for part in parts])
    return Votes(
        torch.cat([part.counts[1:] for part in parts])[back],
        torch.cat([part.scores[1:] for part in parts])[back],
        None if logits is None else logits[back],
    )


class Vote(nn.Module):
    """A stochastic model by majority vote: its logits are the counts of hard votes.

    Give it a batch within `holdfast.random.drawing_from`; the votes are copies of that stream, and
    those of copies are independent, so that such a vote can itself be averaged or certified.

    Args:
        model: the model.
        n: number of votes for each image, at least 1.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import GaussianNoise
        >>> from holdfast.random import Stream, drawing_from
        >>> from holdfast.votes import Vote
        >>> vote = Vote(nn.Sequential(GaussianNoise(0.25), model), 20)
        >>> with drawing_from(Stream.of(0, torch.arange(4))):
        ...     vote(x).sum(dim=1)
        tensor([20., 20., 20., 20.])
    """

    def __init__(self, model: Model, n: int) -> None:
        super().__init__()
        self.model, self.n = model, n

    def forward(self, x: Images) -> Logits:
        """(N, K) how often each class was answered."""
        return _asked(self.model, x, self.n).counts.float()


class MeanScore(nn.Module):
    """A stochastic model by its mean scores: its logits are the log of the softmax's mean.

    Unlike those of a `Vote` they tell small steps apart. Draws as there.

    Args:
        model: the model.
        n: number of draws for each image, at least 1.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import GaussianNoise
        >>> from holdfast.random import Stream, drawing_from
        >>> from holdfast.votes import MeanScore
        >>> mean = MeanScore(nn.Sequential(GaussianNoise(0.25), model), 20)
        >>> with drawing_from(Stream.of(0, torch.arange(4))):
        ...     mean(x).exp().sum(dim=1).round(decimals=3)
        tensor([1., 1., 1., 1.])
    """

    def __init__(self, model: Model, n: int) -> None:
        super().__init__()
        self.model, self.n = model, n

    def forward(self, x: Images) -> Logits:
        """(N, K) logits, at least -69: a class that is never answered has no logarithm."""
        return _asked(self.model, x, self.n).scores.float().clamp(min=1e-30).log()


def _asked(model: Model, x: Images, n: int) -> Votes:
    """Votes about a batch, drawn from copies of the stream that keys the pass."""
    stream = layer_stream(len(x))
    if stream is None:
        raise InputError("a vote was asked for without a stream that names its images.")
    return take_votes(model, x, stream.apart(), n=n)
