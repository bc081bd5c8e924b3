"""A small network for images of 8×8 and up, such as scikit-learn's digits; not from a paper."""

from torch import nn

from holdfast.models.shape import Shape, flattened

__all__ = ["Small"]


def Small(shape: Shape = (1, 8, 8), classes: int = 10) -> nn.Sequential:
    """Convolutions 8-3×3 and 32-3×3, the second with stride 2, FC 128.

    Example:
        >>> from holdfast.models import Small
        >>> Small((1, 8, 8), classes=10)(x).shape
        torch.Size([4, 10])
    """
    convolutions = nn.Sequential(
        nn.Conv2d(shape[0], 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
    )
    return nn.Sequential(
        *convolutions,
        nn.Linear(flattened(convolutions, shape), 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )
