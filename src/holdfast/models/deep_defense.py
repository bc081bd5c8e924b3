"""The MNIST networks of Deep Defense (DD, supplement, table 4)."""

import math

from torch import nn

from holdfast.models.shape import Shape, flattened


def MLP(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """Fully connected 784-500-150-10."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 500),
        nn.ReLU(),
        nn.Linear(500, 150),
        nn.ReLU(),
        nn.Linear(150, classes),
    )


def LeNet(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """Caffe's LeNet: convolutions 20-5×5 and 50-5×5, each pooled 2×2, FC 500."""
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
