"""Architectures by name, for the command line and for checkpoints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from holdfast.errors import InputError, unknown
from holdfast.models.deep_defense import MLP, LeNet
from holdfast.models.eat import A, B, Bstar, C, D
from holdfast.models.madry import MadryMNIST
from holdfast.models.malade import MaladeCNN
from holdfast.models.normalize import Normalize
from holdfast.models.shape import Shape
from holdfast.models.small import Small

ARCHITECTURES: Mapping[str, Callable[[Shape, int], nn.Module]] = MappingProxyType(
    {
        "A": A,
        "B": B,
        "Bstar": Bstar,
        "C": C,
        "D": D,
        "madry-mnist": MadryMNIST,
        "mlp": MLP,
        "lenet": LeNet,
        "malade-cnn": MaladeCNN,
        "small": Small,
    }
)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All that is needed to build a network again, but for its weights.

    Attributes:
        name: a key of ``ARCHITECTURES``.
        shape: (C, H, W) of its images.
        classes: number K of classes.
        normalized: whether a `Normalize` layer comes first.
    """

    name: str
    shape: Shape
    classes: int
    normalized: bool = False

    def __post_init__(self) -> None:
        if self.name not in ARCHITECTURES:
            raise unknown("architecture", self.name, ARCHITECTURES)

    def build(
        self, seed: int = 0, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> nn.Module:
        """The network with fresh weights drawn from ``seed``, in training mode.

        Args:
            seed: of the initial weights.
            mean: of each channel, for a normalised network; 0 if the weights will be loaded.
            std: of each channel; 1 if the weights will be loaded.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = ARCHITECTURES[self.name](self.shape, self.classes)
        if not self.normalized:
            return network
        channels = self.shape[0]
        return nn.Sequential(Normalize(mean or [0.0] * channels, std or [1.0] * channels), network)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "Architecture":
        """From what `to_dict` gave.

        Raises:
            InputError: if the entries do not describe an architecture.
        """
        try:
            channels, height, width = (int(side) for side in entries["shape"])
            return cls(
                name=str(entries["name"]),
                shape=(channels, height, width),
                classes=int(entries["classes"]),
                normalized=bool(entries["normalized"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{entries!r} does not describe an architecture.") from error
