"""The MNIST network of Madry et al. 2018, which the second-order paper (SO section 6) attacks."""

from torch import nn

from holdfast.models.shape import Shape, flattened


def MadryMNIST(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """Convolutions 32-5×5 and 64-5×5 with half padding, each pooled 2×2, FC 1024."""
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
