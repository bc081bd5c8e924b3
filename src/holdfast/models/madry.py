"""The networks of Madry et al. 2018, which the second-order paper (SO section 6) attacks."""

import math
from itertools import pairwise

from torch import nn

from holdfast.errors import InputError
from holdfast.models.initial import he_normal
from holdfast.models.shape import Shape, flattened
from holdfast.models.wide_resnet import Residual, Standardize, activation

__all__ = ["MadryCIFAR", "MadryMNIST"]


def MadryMNIST(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """Convolutions 32-5×5 and 64-5×5 with half padding, each pooled 2×2, FC 1024.

    Example:
        >>> from holdfast.models import MadryMNIST
        >>> MadryMNIST((1, 28, 28), classes=10)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    convolutions = nn.Sequential(
        nn.Conv2d(shape[0], 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    return nn.Sequential(
        *convolutions,
        nn.Linear(flattened(convolutions, shape), 1024),
        nn.ReLU(),
        nn.Linear(1024, classes),
    )


def MadryCIFAR(shape: Shape = (3, 32, 32), classes: int = 10) -> nn.Sequential:
    """Wide residual network: filters 16, then three groups of 5 units with 160, 320 and 640.

    31 convolutions and FC, 45.9 million weights; every image is standardised by itself first.

    Raises:
        InputError: if the sides of the images cannot be halved twice.

    Example:
        >>> from holdfast.models import MadryCIFAR
        >>> with torch.device("meta"):  # 45.9 million weights that need not be drawn
        ...     network = MadryCIFAR((3, 32, 32), classes=10)
        >>> round(sum(weight.numel() for weight in network.parameters()) / 1e6, 1)
        45.9
    """
    if shape[1] % 4 or shape[2] % 4:
        raise InputError(
            f"images of {shape[1]}×{shape[2]} pixels do not fit madry-cifar10, which halves the "
            "sides twice; choose another architecture, or images whose sides are multiples of 4."
        )
    filters = (16, 160, 320, 640)
    units = [
        Residual(narrow if unit == 0 else wide, wide, stride if unit == 0 else 1, shared)
        for (narrow, wide), stride in zip(pairwise(filters), (1, 2, 2), strict=True)
        for unit, shared in enumerate([narrow == 16, False, False, False, False])
    ]
    linear = nn.Linear(filters[-1], classes)
    nn.init.uniform_(linear.weight, -math.sqrt(3 / filters[-1]), math.sqrt(3 / filters[-1]))
    nn.init.zeros_(linear.bias)
    network = nn.Sequential(
        Standardize(),
        nn.Conv2d(shape[0], filters[0], 3, padding=1, bias=False),
        *units,
        *activation(filters[-1]),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        linear,
    )
    return he_normal(network, "fan_out")
