"""Images that a library hands out one by one: decoded pictures or tensors, with a label each.

What is held in memory are labels alone, and images as they are asked for.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from holdfast.data.labelled import Data
from holdfast.data.reading import Reading
from holdfast.errors import DamagedFileError, InputError
from holdfast.types import Labels


def made_of(
    name: str,
    classes: Sequence[str],
    y: Labels,
    picture: Callable[[int], Any],
    reading: Reading,
    version: str = "",
) -> Data:
    """A data set of pictures by their places.

    Args:
        name: for messages.
        classes: their names.
        y: labels.
        picture: place -> a picture of Pillow, or a tensor or array (C, H, W) or (H, W), 8-bit or in
            [0, 1].
        reading: what is done to a picture; it makes all of one shape.
        version: what tells the pictures from others of the same places, so that none is decoded to
            know it; all are read for that if it is empty.

    Raises:
        InputError: if a label has no class, or there is no image.
        DamagedFileError: if the first picture cannot be read; others when they are.
    """
    if not len(y):
        raise InputError(f"{name} holds no image.")
    if int(y.min()) < 0 or int(y.max()) >= len(classes):
        raise InputError(
            f"{name} has labels from {int(y.min())} to {int(y.max())}, but {len(classes)} classes, "
            "which are numbered from 0."
        )

    def pixels(place: int) -> Tensor:
        try:
            found = picture(place)
        except Exception as error:  # a stranger's files may make any step fail
            raise DamagedFileError(
                f"image {place} of {name} cannot be read: {' '.join(str(error).split())[:200]}."
            ) from error
        return reading.of(found, f"image {place} of {name}")

    shape = tuple(pixels(0).shape)

    def read(index: Tensor) -> Tensor:
        x = torch.empty(len(index), *shape)
        for row, place in enumerate(index.tolist()):
            one = pixels(place)
            if tuple(one.shape) != shape:
                raise InputError(
                    f"image {place} of {name} has shape {tuple(one.shape)}, but the first has "
                    f"{shape}; give all of them one by resize=256, crop=224, channels=3."
                )
            x[row] = one
        return x

    def digests(index: Tensor) -> list[str]:
        said = hashlib.sha256(f"{version} {reading}".encode()).hexdigest()
        return [*map(str, index.tolist()), said]

    return Data(name, tuple(classes), y.long(), shape, read, digests if version else None)
