"""Runs an attack on images of a batch: what it makes of them, what it spends, whether it sees."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from holdfast.attacks import Attack, Worst
from holdfast.attacks.skips import hearing_notes, hearing_skips
from holdfast.counting import Counted
from holdfast.errors import GradientError
from holdfast.parameters import Seed
from holdfast.types import Callback, Images, Labels, Step


class Crafted(NamedTuple):
    """What an attack made of the images that it was given, and what it spent."""

    x_adv: Images  # those images
    by: Sequence[str]  # for each the part of a cascade that broke it, or the attack
    forwards: Int[Tensor, " n"]  # passes of every image of the batch
    backwards: Int[Tensor, " n"]
    blind: Bool[Tensor, " n"]  # whether no gradient that was looked at showed a way
    far: Bool[Tensor, " n"]  # whether a cascade found them far from falling
    skipped: Mapping[str, str]
    noted: Mapping[str, int]


@dataclass(frozen=True)
class Crafter:
    """Runs attacks, and counts.

    Attributes:
        seed: of all randomness.
        watch: told every step of every attack.
        counting: told what counts the passes of an attack before it runs.
    """

    seed: Seed
    watch: Callback
    counting: Callable[[Counted], None] | None

    def craft(
        self,
        network: nn.Module,
        name: str,
        attack: Attack,
        x: Images,
        y: Labels,
        index: Int[Tensor, " n"],
        chosen: Bool[Tensor, " n"],
    ) -> Crafted:
        """Attack some images of a batch.

        Where the attack needs a gradient and none reaches the images, it is skipped: they stay as
        they are, and it was blind.

        Args:
            network: to run it on.
            name: what the attack is called.
            attack: already adapted to what the model declares.
            x: images of the batch.
            y: their classes.
            index: of the images, on their device.
            chosen: which to attack.
        """
        counted, sight = Counted(network, index), _Sight(chosen, self.watch)
        if self.counting is not None:
            self.counting(counted)
        x_adv, by = x[chosen], [name] * int(chosen.sum())
        far = torch.zeros_like(chosen)
        skipped: dict[str, str] = {}
        noted: dict[str, int] = {}
        if len(x_adv):
            asked = (counted, x_adv, y[chosen])
            with (
                hearing_skips() as skipped,
                hearing_notes() as noted,
                _noted_as_skipped(name, skipped, sight),
            ):
                if isinstance(attack, Worst):
                    broken = attack.run(*asked, seed=self.seed, index=index[chosen], callback=sight)
                    names = [*broken.names, name]
                    x_adv, by = broken.x_adv, [names[place] for place in broken.by.tolist()]
                    far[chosen] = broken.far
                else:
                    x_adv = attack(*asked, seed=self.seed, index=index[chosen], callback=sight)
        passes = (counted.forwards, counted.backwards)
        return Crafted(x_adv, by, *passes, sight.blind, far, skipped, noted)


class _Sight:
    """Watches an attack's gradients: if none shows a way, that is masking and no robustness.

    A gradient shows a way where an entry is finite and not exactly 0.

    Args:
        attacked: (N,) which images of the batch are attacked; positions count among those.
        watch: is told every step as well.
    """

    def __init__(self, attacked: Bool[Tensor, " n"], watch: Callback) -> None:
        self._watch = watch
        (self._place,) = torch.nonzero(attacked, as_tuple=True)
        self._looked = torch.zeros_like(attacked)
        self._saw = torch.zeros_like(attacked)

    def __call__(self, step: Step) -> None:
        self._watch(step)
        if step.grad is None:  # the attack does not look at gradients
            return
        place = self._place[step.position]
        self._looked[place] = True
        self._saw[place] |= (step.grad.isfinite() & (step.grad != 0)).flatten(1).any(dim=1)

    def cut_off(self) -> None:
        """No gradient reached the images, so that there was nothing to see."""
        self._looked[self._place] = True

    @property
    def blind(self) -> Bool[Tensor, " n"]:
        """Whether the attack looked and saw nothing."""
        return self._looked & ~self._saw


@contextmanager
def _noted_as_skipped(name: str, skipped: dict[str, str], sight: _Sight) -> Iterator[None]:
    """An attack that needs a gradient where there is none is noted, and the rest goes on."""
    try:
        yield
    except GradientError as error:
        skipped[name] = str(error)
        sight.cut_off()
