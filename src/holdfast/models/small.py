"""A small network for images of 8×8 and up, such as scikit-learn's digits; not from a paper."""

from torch import nn

from holdfast.models.shape import Shape, flattened


def Small(shape: Shape = (1, 8, 8), classes: int = 10) -> nn.Sequential:
    """Convolutions 16-3×3 and 32-3×3, pooled 2×2, FC 128."""
    convolutions = nn.Sequential(
        nn.Conv2d(shape[0], 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    return nn.Sequential(
        *convolutions,
        nn.Linear(flattened(convolutions, shape), 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )
