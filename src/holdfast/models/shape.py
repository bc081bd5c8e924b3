"""Shapes of images, as the architectures need them."""

from typing import TypeAlias

import torch
from torch import nn

from holdfast.errors import InputError

#: (channels, height, width) of an image.
Shape: TypeAlias = tuple[int, int, int]


def flattened(layers: nn.Module, shape: Shape) -> int:
    """Number of features that ``layers``, which end in `torch.nn.Flatten`, make of an image.

    Raises:
        InputError: if images of this shape are too small for the layers.
    """
    try:
        with torch.no_grad():
            return int(layers(torch.zeros(1, *shape)).shape[1])
    except RuntimeError as error:
        raise InputError(
            f"images of {shape[1]}×{shape[2]} pixels are too small for this architecture; "
            "choose another one, such as 'small' for 8×8 digits."
        ) from error
