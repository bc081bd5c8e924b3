"""The CIFAR-10 network of STN (section 6: "seven convolutional layers along with MaxPooling").

The paper gives no more; this is the network whose configuration the authors published.
"""

from torch import nn

from holdfast.models.initial import he_normal
from holdfast.models.shape import Shape, fitted

__all__ = ["STNCIFAR"]


def STNCIFAR(shape: Shape = (3, 32, 32), classes: int = 10) -> nn.Sequential:
    """Convolutions 96-5×5, 96-1×1, 192-5×5, 192-1×1, 256-3×3, 256-1×1, K-1×1, ELU, mean.

    Example:
        >>> from holdfast.models import STNCIFAR
        >>> STNCIFAR((3, 32, 32), classes=10)(torch.rand(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """
    network = nn.Sequential(
        nn.Conv2d(shape[0], 96, 5, padding=2),
        nn.ELU(),
        nn.Conv2d(96, 96, 1),
        nn.ELU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),  # halves even sides: 32, 16, 8
        nn.Dropout(0.5),
        nn.Conv2d(96, 192, 5, padding=2),
        nn.ELU(),
        nn.Conv2d(192, 192, 1),
        nn.ELU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        nn.Dropout(0.5),
        nn.Conv2d(192, 256, 3, padding=1),
        nn.ELU(),
        nn.Conv2d(256, 256, 1),
        nn.ELU(),
        nn.Conv2d(256, classes, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return fitted(he_normal(network), shape)
