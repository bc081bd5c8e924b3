"""Networks A, B, B*, C and D for MNIST: ensemble adversarial training (EAT), table 5.

The table gives no strides and no padding. Convolutions here have stride 1 and no padding, but for
B and B*, where the authors' public code is followed: strides 2, 2, 1 and half padding in the first.

That code (ftramer/ensemble-adv-training) departs from the table in C and D: `Ccode` and `Dcode`.
"""

import math
from itertools import pairwise

from torch import nn

from holdfast.models.shape import Shape, flattened

__all__ = ["A", "B", "Bstar", "C", "Ccode", "D", "Dcode"]


def A(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """EAT table 5, column A: two convolutions 64-5×5, dropout, FC 128, dropout.

    Example:
        >>> from holdfast.models import A
        >>> A((1, 28, 28), classes=10)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return _dropped_out(shape, classes, filters=(64, 64), kernel=5)


def B(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """EAT table 5, column B: input dropout 0.2, then B*.

    Example:
        >>> from holdfast.models import B
        >>> B((1, 28, 28), classes=10)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return nn.Sequential(nn.Dropout(0.2), *Bstar(shape, classes))


def Bstar(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """EAT table 5, B without input dropout: convolutions 64-8×8, 128-6×6, 128-5×5, dropout.

    Example:
        >>> from holdfast.models import Bstar
        >>> Bstar((1, 28, 28), classes=10)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    convolutions = nn.Sequential(
        nn.ZeroPad2d((3, 4, 3, 4)),  # half padding of an 8×8 kernel at stride 2 is uneven
        nn.Conv2d(shape[0], 64, 8, stride=2),
        nn.ReLU(),
        nn.Conv2d(64, 128, 6, stride=2),
        nn.ReLU(),
        nn.Conv2d(128, 128, 5),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
    )
    return nn.Sequential(*convolutions, nn.Linear(flattened(convolutions, shape), classes))


def C(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """EAT table 5, column C: convolutions 128-3×3 and 64-3×3 with tanh, each pooled, FC 128.

    Example:
        >>> from holdfast.models import C
        >>> C((1, 28, 28), classes=10)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    convolutions = nn.Sequential(
        nn.Conv2d(shape[0], 128, 3),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(128, 64, 3),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    return nn.Sequential(
        *convolutions,
        nn.Linear(flattened(convolutions, shape), 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def Ccode(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """C as in EAT's code: convolutions 128-3×3 and 64-3×3 with ReLU, no pooling, dropout as in A.

    Example:
        >>> from holdfast.models import Ccode
        >>> Ccode((1, 28, 28), classes=10)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return _dropped_out(shape, classes, filters=(128, 64), kernel=3)


def D(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """EAT table 5, column D: four fully connected layers of 300, dropout 0.5 after the last.

    Example:
        >>> from holdfast.models import D
        >>> D((1, 28, 28), classes=10)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return nn.Sequential(*_hidden(shape), nn.Dropout(0.5), nn.Linear(300, classes))


def Dcode(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """D as in EAT's code: four fully connected layers of 300, dropout 0.5 after each.

    Example:
        >>> from holdfast.models import Dcode
        >>> Dcode((1, 28, 28), classes=10)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return nn.Sequential(*_hidden(shape, dropout=True), nn.Linear(300, classes))


def _dropped_out(
    shape: Shape, classes: int, *, filters: tuple[int, int], kernel: int
) -> nn.Sequential:
    """Two convolutions, dropout 0.25, FC 128, dropout 0.5."""
    convolutions = nn.Sequential(
        nn.Conv2d(shape[0], filters[0], kernel),
        nn.ReLU(),
        nn.Conv2d(filters[0], filters[1], kernel),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Flatten(),
    )
    return nn.Sequential(
        *convolutions,
        nn.Linear(flattened(convolutions, shape), 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, classes),
    )


def _hidden(shape: Shape, *, dropout: bool = False) -> list[nn.Module]:
    """Four fully connected layers of 300 with ReLU, each with dropout 0.5 if wanted."""
    widths = [math.prod(shape), 300, 300, 300, 300]
    layers: list[nn.Module] = [nn.Flatten()]
    for wide, narrow in pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
        layers += [nn.Dropout(0.5)] if dropout else []
    return layers
