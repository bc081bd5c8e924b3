"""A bench: networks that stand in for those that are not there yet, and count their passes."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.counting import Tally
from holdfast.defenses import MALADE
from holdfast.models.purified import PURIFIED
from holdfast.models.stand_in import standing_in

#: Folders that are yet to be made -> the command that makes each, and its options.
Known = Mapping[str, tuple[str, Mapping[str, Any]]]

#: Makes a network for images of a shape, in so many classes.
Kind = Callable[[tuple[int, ...], int], nn.Sequential]


def firm(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """A network that answers 0, whatever is done to an image; it has filters, none of them dead."""
    filters, answers = nn.Conv2d(shape[0], 2, 1), nn.Linear(2 * math.prod(shape[1:]), classes)
    with torch.no_grad():
        filters.weight.abs_()
        filters.bias = nn.Parameter(torch.ones(2))
        answers.weight.mul_(1e-3)
        answers.bias.copy_(10.0 * (torch.arange(classes) == 0))
    return nn.Sequential(filters, nn.ReLU(), nn.Flatten(), answers)


def receding(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """A network whose boundary is a step ahead of whoever walks to it, as DeepFool does."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes - 1), _Ahead())


class _Ahead(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        others = -torch.exp(-x)
        return torch.cat([torch.zeros_like(others[:, :1]), others], dim=1)


class Denoiser(nn.Module):
    """Images to images."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.9))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W)."""
        return self.scale * x


class Bench:
    """Makes networks, each of which counts its passes of single images.

    A chain of a tuning run is counted as one: a pass of the whole is one of its classifier.

    Args:
        shape: of an image.
        classes: that they tell apart.
        known: folders that are yet to be made.
        kind: of classifier.
    """

    def __init__(
        self, shape: tuple[int, ...], classes: int, known: Known, kind: Kind = firm
    ) -> None:
        self.shape, self._classes, self._known, self._kind = shape, classes, known, kind
        self._tallies: list[Tally] = []

    @property
    def spent(self) -> int:
        """Passes of all networks, forward and back."""
        return sum(tally.passes for tally in self._tallies)

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """Within the block whatever is loaded comes from here; nothing else hangs on the draws."""
        with torch.random.fork_rng(), standing_in(self.network):
            torch.manual_seed(0)
            yield

    def counted(self, *layers: nn.Module) -> nn.Sequential:
        """The network of these layers, counting."""
        self._tallies.append(Tally())
        return nn.Sequential(*layers, self._tallies[-1])

    def network(self, spec: str, denoiser: bool = False) -> nn.Module:
        """What stands in for the network of a spec, in evaluation mode."""
        if denoiser:
            return self.counted(Denoiser()).eval()
        network = self.counted(*self._kind(self.shape, self._classes))
        if is_purified(spec, self._known):
            network = nn.Sequential(chain(1), network)
        return network.eval()


def chain(steps: int) -> MALADE:
    """A chain of so many steps."""
    return MALADE(Denoiser(), steps=steps, alpha=0.01, delta=0.01, sigma=0.5)


def is_purified(spec: str, known: Known) -> bool:
    """Whether a network is a chain in front of a classifier: a tuning run, done or to be done."""
    command, _ = known.get(spec, ("", {}))
    return command == "tune malade" or (Path(spec) / PURIFIED).is_file() or spec.endswith(PURIFIED)


def example(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """An image, the class that `firm` gives it, and its index."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = torch.rand(1, *shape)
    return x, torch.zeros(1, dtype=torch.long), torch.arange(1)
