"""Images of 0 to 255 less the mean image, as a layer: what Deep Defense's networks are trained on.

Its learning rates, and its ‖x‖, are those of such images. No learning rate on [0, 1] does the same:
the first layer then moves 255² times slower beside the others.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.data import Data
from holdfast.types import Images

__all__ = ["Centred", "centre_of", "mean_image"]


class Centred(nn.Module):
    """255 (x - the mean image): ``nn.Sequential(Centred(mean), network)``.

    Args:
        mean: (C, H, W), on the [0, 1] scale.

    Example:
        >>> from torch import nn
        >>> from holdfast.models import Centred
        >>> nn.Sequential(Centred(x.mean(dim=0)), model)(x).shape  # attacked in [0, 1]
        torch.Size([4, 3])
    """

    mean: Tensor

    def __init__(self, mean: Float[Tensor, "c h w"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())

    def forward(self, x: Images) -> Images:
        """Centre images (N, C, H, W) in [0, 1]."""
        return 255 * (x - self.mean)

    @property
    def lipschitz(self) -> float:
        """255, in ℓ2; for noise behind the first layer."""
        return 255.0


def mean_image(data: Data) -> Float[Tensor, "c h w"]:
    """The mean of a data set's images, on the [0, 1] scale.

    Example:
        >>> from holdfast.data import Data
        >>> from holdfast.models import mean_image
        >>> bool(mean_image(Data.of(x, y)).allclose(x.mean(dim=0)))
        True
    """
    total = torch.zeros(data.shape, dtype=torch.float64)
    for index in data.all_batches():
        total += data.x(index).double().sum(dim=0)
    return (total / len(data)).float()


def centre_of(model: nn.Module) -> Float[Tensor, "c h w"] | None:
    """The mean image that a model's `Centred` layer takes off; None if it has no such layer.

    Example:
        >>> from torch import nn
        >>> from holdfast.models import Centred, centre_of
        >>> bool((centre_of(nn.Sequential(Centred(x[0]), model)) == x[0]).all())
        True
    """
    return next((layer.mean for layer in model.modules() if isinstance(layer, Centred)), None)
