"""Validation: clean and robust accuracy, after every epoch, on images held out from training."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast import lightning
from holdfast.attacks import Attack
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.parameters import Seed
from holdfast.processes import summed
from holdfast.random import Stream, hash_seed
from holdfast.tensors import eval_mode
from holdfast.types import Flags, Labels
from holdfast.votes import take_votes

__all__ = ["Validation", "hold_out"]


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What is measured after every epoch.

    An image counts as robust if the network is right on it and, asked again, on what the attack
    made of it. The attack draws the same random numbers after every epoch. All is computed in
    32 bits, whatever the precision of training.

    Attributes:
        data: held-out images.
        attack: for the robust accuracy; without it only the clean one is measured.
        batch_size: images at once.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.data import Data
        >>> from holdfast.training import Validation
        >>> Validation(data=Data.of(x, y), attack=PGD(Linf(0.1), steps=5)).names
        ('val_accuracy', 'val_robust_accuracy')
    """

    data: Data
    attack: Attack | None = None
    batch_size: int = 500

    @property
    def names(self) -> tuple[str, ...]:
        """Of what is measured."""
        return ("val_accuracy", "val_robust_accuracy")[: 1 + (self.attack is not None)]

    def measure(
        self, network: nn.Module, seed: Seed, fabric: "lightning.Fabric"
    ) -> dict[str, float]:
        """Clean accuracy and, with an attack, robust accuracy.

        The processes share the batches; each gets the whole answer.
        """
        right = torch.zeros(2, dtype=torch.int64, device=fabric.device)
        batches = list(self.data.batches(self.batch_size))
        with eval_mode(network):
            for index in batches[fabric.global_rank :: fabric.world_size]:
                x, y = fabric.to_device((self.data.x(index), self.data.y[index]))
                clean = _right(network, x, y, Stream.of(seed, index.to(x.device)).fold("clean"))
                robust = clean
                if self.attack is not None:
                    x_adv = self.attack(network, x, y, seed=hash_seed(seed, "val"), index=index)
                    rng = Stream.of(seed, index.to(x.device)).fold("attacked")
                    robust = clean & _right(network, x_adv, y, rng)
                right += torch.stack([clean.sum(), robust.sum()])
        counts = summed(fabric, right).tolist()
        fractions = (count / len(self.data) for count in counts)
        return dict(zip(self.names, fractions, strict=False))


def hold_out(data: Data, size: int, seed: Seed) -> tuple[Data, Data]:
    """Part a training set in two: what to train on, and ``size`` images for validation.

    Each class gives its fraction of the images, rounded so that the sum is right (the largest
    remainders are rounded up); which of its images is drawn from the seed.

    Raises:
        InputError: if ``size`` leaves no image on one side.

    Example:
        >>> from holdfast.data import Data
        >>> from holdfast.training import hold_out
        >>> images, labels = torch.rand(100, 1, 8, 8), torch.arange(100) % 5
        >>> rest, held = hold_out(Data.of(images, labels), 20, seed=0)
        >>> len(rest), torch.bincount(held.y)  # four of each class
        (80, tensor([4, 4, 4, 4, 4]))
    """
    held = held_out_of(data.y, size, seed)
    return data.take((~held).nonzero()[:, 0]), data.take(held.nonzero()[:, 0])


def held_out_of(y: Labels, size: int, seed: Seed) -> Flags:
    """(N,) which images `hold_out` holds out of a training set with the labels ``y``.

    Example:
        >>> from holdfast.training.validation import held_out_of
        >>> int(held_out_of(torch.arange(100) % 10, 20, seed=0).sum())
        20
    """
    if not 1 <= size < len(y):
        raise InputError(
            f"{size} images are to be held out of {len(y)}; hold out at least 1 and leave at "
            "least 1 to train on."
        )
    quota = torch.bincount(y).double() * size / len(y)
    take = quota.floor().long()
    remainders = (quota - take).argsort(descending=True, stable=True)
    take[remainders[: size - int(take.sum())]] += 1
    generator = torch.Generator().manual_seed(hash_seed(seed, "hold out"))
    order = torch.randperm(len(y), generator=generator)
    held = torch.zeros(len(y), dtype=torch.bool)
    for label, count in enumerate(take.tolist()):
        held[order[y[order] == label][:count]] = True
    return held


def _right(network: nn.Module, x: Tensor, y: Tensor, rng: Stream) -> Tensor:
    return take_votes(network, x, rng, batch_size=len(x)).counts.argmax(dim=1) == y
