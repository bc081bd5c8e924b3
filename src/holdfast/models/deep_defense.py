"""The networks of Deep Defense (DD, supplement, table 4).

The table is lost in the text; what it says of kernels, pooling and dropout for CIFAR-10 is taken
from the authors' public code.
"""

import math

from torch import nn

from holdfast.errors import InputError
from holdfast.models.initial import he_normal
from holdfast.models.shape import Shape, fitted, flattened

__all__ = ["MLP", "NIN", "ConvNet", "LeNet"]


def MLP(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """Fully connected 784-500-150-10.

    Example:
        >>> from holdfast.models import MLP
        >>> MLP((1, 28, 28), classes=10)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 500),
        nn.ReLU(),
        nn.Linear(500, 150),
        nn.ReLU(),
        nn.Linear(150, classes),
    )


def LeNet(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """Caffe's LeNet: convolutions 20-5×5 and 50-5×5, each pooled 2×2, FC 500.

    Example:
        >>> from holdfast.models import LeNet
        >>> LeNet((1, 28, 28), classes=10)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    convolutions = nn.Sequential(
        nn.Conv2d(shape[0], 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    return nn.Sequential(
        *convolutions,
        nn.Linear(flattened(convolutions, shape), 500),
        nn.ReLU(),
        nn.Linear(500, classes),
    )


def ConvNet(shape: Shape = (3, 32, 32), classes: int = 10) -> nn.Sequential:
    """Convolutions 32-5×5, 32-5×5, 64-5×5, each pooled 2×2, then 64-4×4 and K-1×1.

    The fourth kernel covers all that is left of the image: 4×4 of 32×32.

    Raises:
        InputError: if images of this shape are too small.

    Example:
        >>> from holdfast.models import ConvNet
        >>> ConvNet((3, 32, 32), classes=10)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    left = (shape[1] // 8, shape[2] // 8)
    if 0 in left:
        raise InputError(
            f"images of {shape[1]}×{shape[2]} pixels are too small for convnet, which takes "
            "8×8 and up."
        )
    network = nn.Sequential(
        nn.Conv2d(shape[0], 32, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(32, 32, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(64, 64, left),
        nn.ReLU(),
        nn.Conv2d(64, classes, 1),
        nn.Flatten(),
    )
    return he_normal(network)


def NIN(shape: Shape = (3, 32, 32), classes: int = 10) -> nn.Sequential:
    """Network in network: 192-5×5, 160, 96; 192-5×5, 192, 192; 192-3×3, 192, K; mean.

    All others are 1×1. The first two blocks are pooled 2×2, by maximum and by mean, with dropout.

    Example:
        >>> from holdfast.models import NIN
        >>> NIN((3, 32, 32), classes=10)(torch.rand(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """
    network = nn.Sequential(
        nn.Conv2d(shape[0], 192, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(192, 160, 1),
        nn.ReLU(),
        nn.Conv2d(160, 96, 1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.5),
        nn.Conv2d(96, 192, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(192, 192, 1),
        nn.ReLU(),
        nn.Conv2d(192, 192, 1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Dropout(0.5),
        nn.Conv2d(192, 192, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(192, 192, 1),
        nn.ReLU(),
        nn.Conv2d(192, classes, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return fitted(he_normal(network), shape)
