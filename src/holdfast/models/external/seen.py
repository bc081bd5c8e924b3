"""Images as a published network wants to see them: resized, cut and normalised within the model.

So that attacks act on images in [0, 1] of the size that they are given in, and gradients pass.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.errors import InputError
from holdfast.models.normalize import Normalize

__all__ = ["Seen"]


class Seen(nn.Module):
    """Images (N, C, H, W) in [0, 1], resized with antialiasing, cut to the middle, normalised.

    Args:
        mean: of each channel, on the [0, 1] scale.
        std: of each channel.
        resize: (height, width), or one number for the shorter side; None leaves the size.
        crop: (height, width) of the middle that is cut out; None for no cut.
        interpolation: "bilinear", "bicubic" or "nearest".
        turned: show blue first and red last.

    Raises:
        InputError: if the interpolation is another.

    Example:
        >>> from holdfast.models.external.seen import Seen
        >>> Seen([0.5], [0.25], resize=12, crop=(10, 10))(x).shape
        torch.Size([4, 1, 10, 10])
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        resize: int | tuple[int, int] | None = None,
        crop: tuple[int, int] | None = None,
        interpolation: str = "bilinear",
        turned: bool = False,
    ) -> None:
        super().__init__()
        if interpolation not in ("bilinear", "bicubic", "nearest"):
            raise InputError(
                f"interpolation is {interpolation}, but a gradient is known of bilinear, bicubic "
                "and nearest; resize the images before, and choose one of these."
            )
        self.resize, self.crop, self.interpolation = resize, crop, interpolation
        self.turned = turned
        self.normalize = Normalize(mean, std)

    def forward(self, x: Tensor) -> Tensor:
        """What the network sees; grey images as three equal channels if it wants three."""
        if x.shape[1] == 1 and len(self.normalize.mean) == 3:
            x = x.expand(-1, 3, -1, -1)
        sides = self._sides(x.shape[-2], x.shape[-1])
        if sides != tuple(x.shape[-2:]):
            smooth = self.interpolation != "nearest"
            more = {"antialias": True, "align_corners": False} if smooth else {}
            mode = self.interpolation if smooth else "nearest-exact"  # as Pillow means it
            x = functional.interpolate(x, sides, mode=mode, **more).clamp(0, 1)
        if self.crop is not None:
            from torchvision.transforms.v2 import functional as transforms

            x = transforms.center_crop(x, list(self.crop))
        if self.turned:
            x = x.flip(1)
        seen: Tensor = self.normalize(x)
        return seen

    def _sides(self, height: int, width: int) -> tuple[int, int]:
        if self.resize is None:
            return height, width
        if isinstance(self.resize, tuple):
            return self.resize
        short, long = min(height, width), max(height, width)
        longer = int(self.resize * long / short)
        return (self.resize, longer) if height <= width else (longer, self.resize)


def scaled(statistics: Sequence[float] | float, channels: int = 3) -> list[float]:
    """Statistics of each channel, of one number or several.

    Example:
        >>> from holdfast.models.external.seen import scaled
        >>> scaled(0.5), scaled([0.1, 0.2, 0.3])
        ([0.5, 0.5, 0.5], [0.1, 0.2, 0.3])
    """
    found = torch.as_tensor(statistics, dtype=torch.float64).flatten().tolist()
    return found * channels if len(found) == 1 else found
