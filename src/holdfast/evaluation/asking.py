"""Asks a model about images of a data set: votes of their own, whatever they were attacked by."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from holdfast.checks import check_classes
from holdfast.data import Data
from holdfast.parameters import Seed
from holdfast.random import Stream
from holdfast.results import CLEAN
from holdfast.statistics import Counts, beyond_chance
from holdfast.tensors import device_of, sent
from holdfast.types import Images, Labels, Threat
from holdfast.votes import Votes, check_numbers, take_votes_apart


@dataclass(frozen=True)
class Answer:
    """What the model said about a batch, by fresh passes with fresh noise."""

    prediction: Tensor  # (N,)
    loss: Tensor  # (N,) -log of the mean probability of the label
    votes_for_prediction: Tensor  # (N,)
    votes_for_label: Tensor  # (N,)
    rank: Tensor  # (N,) classes that the model prefers to the label: 0 if it is right
    ahead: Tensor  # (N,) classes with more votes than the label, by more than chance; on the CPU
    counts: Tensor  # (N, K) votes
    scores: Tensor  # (N, K) mean probabilities


@dataclass(frozen=True)
class Batch:
    """Examples of the data, read once for all that is asked about them."""

    index: Int[Tensor, " n"]  # on the CPU
    x: Images  # on the model's device, as the labels
    y: Labels

    def take(self, chosen: Bool[Tensor, " n"]) -> "Batch":
        """Those of a mask on the CPU."""
        place = chosen.to(self.x.device)
        return Batch(self.index[chosen], self.x[place], self.y[place])


@dataclass(frozen=True)
class Asker:
    """Asks one model about images of one data set, with fresh noise for each purpose.

    Attributes:
        model: in evaluation mode.
        data: the test set.
        seed: of all randomness.
        votes: draws that decide a prediction; 1 for a deterministic model.
        batch_size: images in one forward pass of a vote.
    """

    model: nn.Module
    data: Data
    seed: Seed
    votes: int
    batch_size: int

    def batch(self, index: Int[Tensor, " n"]) -> Batch:
        """The examples at ``index``."""
        device = device_of(self.model)
        return Batch(index, sent(self.data.x(index), device), sent(self.data.y[index], device))

    def of_clean(self, batch: Batch) -> Answer:
        """What the model says of the unattacked images: by the same draws whenever it is asked."""
        return self._answer(batch.x, batch.y, batch.index, CLEAN)

    def of_attacked(
        self, name: str, threat: Threat, x_adv: Images, y: Labels, index: Tensor
    ) -> Answer:
        """The same of an attack's images."""
        return self._answer(x_adv, y, index, f"{name} {threat!r}")

    def of_8_bit(self, threat: Threat, rounded: Images, y: Labels, index: Tensor) -> Answer:
        """The same of those on the grid of 256 levels."""
        return self._answer(rounded, y, index, f"8-bit {threat!r}")

    def fooled_again(
        self, name: str, threat: Threat, x_adv: Images, batch: Batch
    ) -> Bool[Tensor, " n"]:
        """Which images that fooled at another size fool once more; by votes, without a doubt.

        Of votes that hardly agree the next ones may say otherwise, and the image would be called
        robust though a stronger one had been found for it: it is attacked instead.
        """
        answer = self._answer(x_adv, batch.y, batch.index, f"{name} {threat!r} again")
        fooled = answer.prediction != batch.y
        if self.votes > 1:
            fooled &= (answer.ahead > 0).to(fooled.device)
        return fooled

    def votes_of(self, network: nn.Module, x: Images, index: Tensor, purpose: str) -> Votes:
        """A network's votes about images; the model's, or those of one in its place."""
        rng = Stream.of(self.seed, sent(index, x.device)).fold("ask", purpose)
        votes = take_votes_apart(network, x, rng, n=self.votes, batch_size=self.batch_size)
        check_numbers(votes, index, purpose)
        return votes

    def _answer(self, x: Images, y: Labels, index: Tensor, purpose: str) -> Answer:
        votes = self.votes_of(self.model, x, index, purpose)
        counts, scores = votes.counts, votes.scores
        check_classes(y, counts.shape[1])
        loss = -scores.gather(1, y[:, None])[:, 0].clamp(min=1e-300).log()
        most, prediction = counts.max(dim=1)
        label = counts.gather(1, y[:, None])[:, 0]
        ahead = surely_ahead(counts.cpu().numpy(), label.cpu().numpy())
        return Answer(prediction, loss, most, label, votes.rank(y), ahead, counts, scores)


def surely_ahead(counts: Counts, label: Counts) -> Tensor:
    """(N,) how many classes have more votes than the label, by more than chance.

    Args:
        counts: (N, K) votes.
        label: (N,) those of the label.
    """
    own = np.broadcast_to(label[:, None], counts.shape)
    ahead = counts > own
    ahead[ahead] = beyond_chance(counts[ahead], own[ahead])
    return torch.as_tensor(ahead.sum(axis=1))
