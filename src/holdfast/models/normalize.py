"""Normalisation as a layer of the model, so that attacks always act on images in [0, 1]."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from holdfast.defenses import LAYERS
from holdfast.errors import InputError

__all__ = ["Normalize"]


@LAYERS.named("normalize")
class Normalize(nn.Module):
    """(x - mean) / std per channel: ``nn.Sequential(Normalize(mean, std), network)``.

    When:
        In front of a network that was trained on normalised images, so that attacks and
        certificates stay about [0, 1].

    When not:
        As a defence, which it is not; nor beside a transform of the data that does the same.

    Traps:
        Normalising in the data loader as well makes ε another size, and the network's answers
        wrong. A mean on the 0–255 scale is of another image.

    Args:
        mean: of each channel, on the [0, 1] scale.
        std: of each channel, positive.

    Raises:
        InputError: if there are not as many means as deviations or one is not positive.

    Reference:
        The usual practice; no paper of its own.

    Example:
        >>> from torch import nn
        >>> from holdfast.models import Normalize
        >>> nn.Sequential(Normalize([0.5], [0.25]), model)(x).shape  # attacked in [0, 1]
        torch.Size([4, 3])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise InputError(
                f"mean {list(mean)} and std {list(std)} do not fit: give one of each for every "
                "channel, with std above 0."
            )
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise images (N, C, H, W) in [0, 1]."""
        return (x - self.mean) / self.std

    @property
    def lipschitz(self) -> float:
        """The largest 1 / std, in ℓ2; for noise behind the first layer."""
        return float((1 / self.std.double()).max())
