"""What a library of models gives: their names, fresh networks, and networks as published."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from holdfast.data import Data
from holdfast.data.reading import Reading
from holdfast.errors import InputError
from holdfast.models.normalize import Normalize
from holdfast.models.shape import Shape


class Library(NamedTuple):
    """Four functions and a list; the parameters are the library's own, by name."""

    #: () -> names of all classifiers.
    names: Callable[[], Sequence[str]]
    #: (name, shape, classes, parameters) -> network with fresh weights.
    fresh: Callable[[str, Shape, int, dict[str, Any]], nn.Module]
    #: (name, weights, parameters) -> network with the library's weights.
    published: Callable[[str, str, dict[str, Any]], "Published"]
    #: name -> (C, H, W) of the images that it was made for.
    expects: Callable[[str], Shape]
    #: Parameters that a file may give: sizes and rates that make the network what it is. None that
    #: reads another file, downloads, or calls anything belongs here.
    loadable: frozenset[str]


class Published(nn.Sequential):
    """`Normalize`, then a network with the weights that its library publishes.

    Its weights have the names that they have in an `Architecture` with ``normalized=True``.

    Args:
        name: for the error.
        network: that takes normalised images.
        mean: of each channel, on the [0, 1] scale.
        std: of each channel.
        expects: (C, H, W) of the images that the weights were trained on.
        reading: how its library reads these from photographs; None where it is not said, or done in
            a way that is not known here.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        expects: Shape,
        reading: Reading | None = None,
    ) -> None:
        super().__init__(Normalize(mean, std), network)
        self.name, self.expects, self.reading = name, expects, reading
        # The layout in memory that convolutions on a CPU are fastest in; the numbers are the same.
        self.eval().to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images (N, C, H, W) in [0, 1]; grey ones count as three equal channels.

        Raises:
            InputError: if the network fails on images of another shape than it expects.
        """
        try:
            logits: Tensor = super().forward(x)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, AssertionError) as error:
            shape = tuple(x.shape[1:])
            if shape == self.expects:
                raise
            raise does_not_fit(self.name, shape, self.expects) from error
        return logits


class Grey(nn.Module):
    """Images of one channel as three equal ones, for networks that take colour alone."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 3, H, W), sharing memory."""
        return x.expand(-1, 3, -1, -1)


def read_otherwise(network: nn.Module, data: Data) -> list[str]:
    """Sentences on photographs that are read otherwise than a library reads them for its weights.

    Args:
        network: what is asked, or holds it.
        data: what it is asked about.

    Example:
        >>> from holdfast.data import Data
        >>> from holdfast.models.external.library import read_otherwise
        >>> read_otherwise(model, Data.of(x, y))
        []
    """
    if data.reading is None:
        return []
    given = replace(data.reading, channels=None)
    return [
        f"{data.name} is read by {_told(given) or 'no resizing'}, where {one.name} was trained on "
        f"photographs read by {_told(one.reading)}: write that with the data."
        for one in network.modules()
        if isinstance(one, Published) and one.reading not in (None, given)
        if given != Reading() or data.shape != one.expects  # they may have been cut before
    ]


def _told(reading: Reading | None) -> str:
    """As it is written with the data."""
    said = {} if reading is None else asdict(reading)
    return ", ".join(
        f"{name}={value}" for name, value in said.items() if value not in (None, "bilinear")
    )


def does_not_fit(name: str, shape: Sequence[int], expects: Shape) -> InputError:
    """The error for images of a shape that a network cannot take."""
    given, wanted = ("×".join(str(side) for side in sides) for sides in (shape, expects))
    return InputError(
        f"{name} does not take images of {given}; it was made for {wanted} (channels, height, "
        "width): resize them, or choose another model."
    )
