"""The MNIST classifier of MALADE (appendix B.3.1, table 5)."""

from torch import nn

from holdfast.models.shape import Shape, flattened


def MaladeCNN(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """Convolutions 128-3×3 and 64-5×5 at stride 2, FC 128."""
    convolutions = nn.Sequential(
        nn.Conv2d(shape[0], 128, 3),
        nn.ReLU(),
        nn.Conv2d(128, 64, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
    )
    return nn.Sequential(
        *convolutions,
        nn.Linear(flattened(convolutions, shape), 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )
