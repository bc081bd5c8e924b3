"""Validation: clean and robust accuracy, after every epoch, on images held out from training.

With ``top``, that of the label among the first so many classes too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast import lightning
from holdfast.attacks import Attack
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.parameters import Seed, check_fields, check_top
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

    With ``top`` = k > 1 the same is measured of the label being among the k classes that the
    network likes best, before the attack and after it. An attack on the first class leaves it to
    chance where in the ranking the label ends: what it leaves is an upper limit of top-k robust
    accuracy, as in `holdfast.metrics.top5`. One with the goal
    `holdfast.goals.TopMargin` of k aims at that, and leaves an upper limit of the robust accuracy
    by the first class instead.

    Attributes:
        data: held-out images.
        attack: for the robust accuracy; without it only the clean one is measured.
        batch_size: images at once.
        top: k, at least 1 and below the number of classes; 1 for the first class alone.

    Raises:
        InputError: if ``top`` is below 1; and when it measures, if there are no more classes.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.data import Data
        >>> from holdfast.training import Validation
        >>> Validation(data=Data.of(x, y), attack=PGD(Linf(0.1), steps=5)).names
        ('val_accuracy', 'val_robust_accuracy')
        >>> Validation(data=Data.of(x, y), top=2).names
        ('val_accuracy', 'val_top2')
    """

    data: Data
    attack: Attack | None = None
    batch_size: int = 500
    top: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        check_top(self.top)

    @property
    def names(self) -> tuple[str, ...]:
        """Of what is measured."""
        whole = ["val_accuracy", "val_robust_accuracy"]
        among = [] if self.top == 1 else [f"val_top{self.top}", f"val_robust_top{self.top}"]
        under = 1 + (self.attack is not None)
        return (*whole[:under], *among[:under])

    def measure(
        self, network: nn.Module, seed: Seed, fabric: "lightning.Fabric"
    ) -> dict[str, float]:
        """Clean accuracy and, with an attack, robust accuracy; with ``top`` the same of top-k.

        The processes share the batches; each gets the whole answer.
        """
        right = torch.zeros(len(self.names), dtype=torch.int64, device=fabric.device)
        batches = list(self.data.batches(self.batch_size))
        with eval_mode(network):
            for index in batches[fabric.global_rank :: fabric.world_size]:
                x, y = fabric.to_device((self.data.x(index), self.data.y[index]))
                rng = Stream.of(seed, index.to(x.device))
                clean = self._right(network, x, y, rng.fold("clean"))
                found = [clean]
                if self.attack is not None:
                    x_adv = self.attack(network, x, y, seed=hash_seed(seed, "val"), index=index)
                    found.append(clean & self._right(network, x_adv, y, rng.fold("attacked")))
                # From (attack, k, N) to (k, attack), as `names` has them.
                right += torch.stack(found).sum(dim=2).T.flatten()
        counts = summed(fabric, right).tolist()
        fractions = (count / len(self.data) for count in counts)
        return dict(zip(self.names, fractions, strict=True))

    def _right(self, network: nn.Module, x: Tensor, y: Tensor, rng: Stream) -> Tensor:
        """(1, N) which labels come first; with ``top`` (2, N), and which are among the first k."""
        votes = take_votes(network, x, rng, batch_size=len(x))
        check_top(self.top, votes.scores.shape[1])
        return torch.stack([votes.among(y, top) for top in sorted({1, self.top})])


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
