"""Shapes of images, as the architectures need them."""

from typing import TypeAlias, TypeVar

import torch
from torch import nn

from holdfast.errors import InputError
from holdfast.tensors import eval_mode

__all__ = ["fitted", "flattened"]

#: (channels, height, width) of an image.
Shape: TypeAlias = tuple[int, int, int]

Network = TypeVar("Network", bound=nn.Module)


def flattened(layers: nn.Module, shape: Shape) -> int:
    """Number of features that ``layers``, which end in `torch.nn.Flatten`, make of an image.

    Raises:
        InputError: if images of this shape are too small for the layers.

    Example:
        >>> from torch import nn
        >>> from holdfast.models.shape import flattened
        >>> flattened(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()), (1, 8, 8))
        144
    """
    try:
        with torch.no_grad():
            return int(layers(torch.zeros(1, *shape)).shape[1])
    except RuntimeError as error:
        raise _too_small(shape) from error


def fitted(network: Network, shape: Shape) -> Network:
    """``network``, now known to take images of this shape.

    Raises:
        InputError: if images of this shape are too small for it.

    Example:
        >>> from torch import nn
        >>> from holdfast.models.shape import fitted
        >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3))
        >>> fitted(network, (1, 8, 8)) is network
        True
    """
    try:
        with torch.no_grad(), eval_mode(network):
            network(torch.zeros(1, *shape))
    except RuntimeError as error:
        raise _too_small(shape) from error
    return network


def _too_small(shape: Shape) -> InputError:
    return InputError(
        f"images of {shape[1]}×{shape[2]} pixels are too small for this architecture; "
        "choose another one, such as 'small' for 8×8 digits."
    )
