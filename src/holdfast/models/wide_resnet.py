"""The parts of Madry et al.'s wide residual network, as their public code has them."""

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Residual", "Standardize"]

#: Slope of the activation below 0.
LEAK = 0.1


class Standardize(nn.Module):
    """Every image less its mean, divided by its deviation over all of its C·H·W entries.

    The deviation counts as at least 1 / (255 √(C·H·W)): on the 0-255 scale of the authors' code
    that floor is 1 / √(C·H·W), and with it the result is the same on both scales.

    Example:
        >>> from holdfast.models.wide_resnet import Standardize
        >>> Standardize()(x).std(dim=(1, 2, 3), correction=0).round(decimals=3)
        tensor([1., 1., 1., 1.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Standardise images (N, C, H, W)."""
        centred = x - x.mean(dim=(1, 2, 3), keepdim=True)
        variance = centred.square().mean(dim=(1, 2, 3), keepdim=True)
        # The floor comes before the root, whose slope at 0 is infinite.
        return centred / variance.clamp(min=1 / (255**2 * x.shape[1:].numel())).sqrt()


class Residual(nn.Module):
    """shortcut(x) + conv(σ(bn(conv(σ(bn(x)))))), σ being a leaky ReLU.

    The shortcut has no weights: it pools means and adds channels of 0 on both sides.

    Args:
        inward: channels of x.
        outward: channels of the result, as many or an even number more.
        stride: 1, or 2 to halve the sides, which are then even.
        shared: the shortcut, too, takes σ(bn(x)) in place of x.

    Reference:
        He et al., "Identity mappings in deep residual networks", ECCV 2016; Madry et al., "Towards
        deep learning models resistant to adversarial attacks", ICLR 2018, their public code.

    Example:
        >>> from holdfast.models.wide_resnet import Residual
        >>> Residual(4, 8, stride=2)(torch.rand(2, 4, 8, 8)).shape
        torch.Size([2, 8, 4, 4])
    """

    def __init__(self, inward: int, outward: int, stride: int = 1, shared: bool = False) -> None:
        super().__init__()
        self.activate = activation(inward)
        self.residual = nn.Sequential(
            # Padding for stride 2 is uneven, so that window i begins at row 2i, as the mean's does.
            nn.ZeroPad2d((1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)),
            nn.Conv2d(inward, outward, 3, stride=stride, bias=False),
            *activation(outward),
            nn.Conv2d(outward, outward, 3, padding=1, bias=False),
        )
        self.stride, self.added, self.shared = stride, outward - inward, shared

    def forward(self, x: Tensor) -> Tensor:
        """(N, inward, H, W) -> (N, outward, H / stride, W / stride)."""
        active = self.activate(x)
        pooled = functional.avg_pool2d(active if self.shared else x, self.stride)
        side = self.added // 2
        result: Tensor = functional.pad(pooled, (0, 0, 0, 0, side, side)) + self.residual(active)
        return result


def activation(channels: int) -> nn.Sequential:
    """Batch normalisation, its statistics moving by a tenth per batch, and a leaky ReLU."""
    return nn.Sequential(nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1), nn.LeakyReLU(LEAK))
