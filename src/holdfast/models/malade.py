"""The MNIST networks of MALADE (appendix B.3.1): the classifier, table 5; the denoiser, table 6."""

from torch import Tensor, nn
from torch.nn import functional

from holdfast.models.shape import Shape, flattened

__all__ = ["MaladeCNN", "MaladeDAE", "Pointwise"]


def MaladeCNN(shape: Shape = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """Convolutions 128-3×3 and 64-5×5 at stride 2, FC 128.

    Example:
        >>> from holdfast.models import MaladeCNN
        >>> MaladeCNN((1, 28, 28), classes=10)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
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


class Pointwise(nn.ConvTranspose2d):
    """A transposed convolution of one pixel at stride 2: pixels spread out, and the bias between.

    Computed as a 1×1 convolution and zeros: in channels_last and with output padding, oneDNN writes
    the weights' gradient of torch's own beyond their memory (torch 2.14.1 on a CPU with AVX2), and
    the training ends in a segmentation fault, or hangs.

    Example:
        >>> from holdfast.models.malade import Pointwise
        >>> Pointwise(4, 2, 1, stride=2, output_padding=1)(torch.rand(1, 4, 8, 8)).shape
        torch.Size([1, 2, 16, 16])
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, 2H - 1 + added, 2W - 1 + added); of another ``output_size`` nothing is made."""
        del output_size
        height, width = (
            2 * side - 1 + int(added)
            for side, added in zip(x.shape[2:], self.output_padding, strict=True)
        )
        pixels = functional.conv2d(x, self.weight.transpose(0, 1))
        spread = functional.pad(pixels[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1))
        spread = spread.flatten(4).flatten(2, 3)[:, :, :height, :width]
        return spread if self.bias is None else spread + self.bias[:, None, None]


def MaladeDAE(shape: Shape = (1, 28, 28)) -> nn.Sequential:
    """Denoiser, DAE and sDAE: 10-5×5 and 25-5×5 at stride 2, back by 10-9×9 and C-1×1, C-5×5.

    The table gives no padding, and without any its decoder ends at 25×25. Here every convolution,
    transposed ones too, has half padding, so that a side goes 28, 14, 7, 14, 28, 28; what rounding
    loses on the way down, the output padding gives back. C, the number of channels, is 1 in the
    table, which is for MNIST; for other images the paper describes no denoiser.

    Example:
        >>> from holdfast.models import MaladeDAE
        >>> MaladeDAE((1, 28, 28))(torch.rand(2, 1, 28, 28)).shape  # images of images
        torch.Size([2, 1, 28, 28])
    """
    channels, *sides = shape
    halves = [-(-side // 2) for side in sides]
    quarters = [-(-half // 2) for half in halves]

    def up(into: int, out: int, kernel: int, small: list[int], large: list[int]) -> nn.Module:
        added = [side - (2 * half - 1) for side, half in zip(large, small, strict=True)]
        return (Pointwise if kernel == 1 else nn.ConvTranspose2d)(
            into, out, kernel, stride=2, padding=kernel // 2, output_padding=(added[0], added[1])
        )

    return nn.Sequential(
        nn.Conv2d(channels, 10, 5, stride=2, padding=2),
        nn.Tanh(),
        nn.Conv2d(10, 25, 5, stride=2, padding=2),
        nn.Tanh(),
        up(25, 10, 9, quarters, halves),
        nn.Tanh(),
        up(10, channels, 1, halves, sides),
        nn.Tanh(),
        nn.Conv2d(channels, channels, 5, padding=2),
        nn.Tanh(),
    )
