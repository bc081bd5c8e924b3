"""Images between other bounds than 0 and 1, as other libraries' models may take them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from holdfast.errors import InputError
from holdfast.tensors import expand, widest
from holdfast.types import Images, Threat

__all__ = ["Box", "Rescaled"]


@dataclass(frozen=True)
class Box:
    """Bounds of a model's images, the same for every pixel.

    Raises:
        InputError: if the lower is not below the upper.

    Example:
        >>> from holdfast.bridges.box import Box
        >>> box = Box(-1.0, 1.0)
        >>> box.unit(torch.tensor([-1.0, 0.0])), box.back(torch.tensor([0.0, 0.5])), box.size(0.5)
        (tensor([0.0000, 0.5000]), tensor([-1.,  0.]), 0.25)
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(
                f"the bounds are {self.low} and {self.high}, but the first must be the smaller."
            )

    @property
    def is_unit(self) -> bool:
        """Whether it is Holdfast's own."""
        return (self.low, self.high) == (0.0, 1.0)

    def unit(self, x: Tensor) -> Tensor:
        """Images between these bounds, in [0, 1].

        Raises:
            InputError: if they leave the bounds by more than rounding.
        """
        if self.is_unit:
            return x
        coarse = 8 * torch.finfo(x.dtype).eps if x.is_floating_point() else 0.0
        slack = coarse * max(abs(self.low), abs(self.high))
        if ((x < self.low - slack) | (x > self.high + slack)).any():
            low, high = x.aminmax()
            raise InputError(
                f"the images have values from {low:.4g} to {high:.4g}, but the model's bounds are "
                f"{self.low:g} and {self.high:g}: scale the images, or give the bounds that they "
                "have."
            )
        return ((x - self.low) / (self.high - self.low)).clamp(0, 1)

    def back(self, x: Tensor) -> Tensor:
        """Images in [0, 1], between these bounds but for rounding; gradients pass everywhere."""
        return x if self.is_unit else x * (self.high - self.low) + self.low

    def restored(self, found: Images, images: Shaped[Tensor, "n *image"]) -> Images:
        """Images in [0, 1] that were made of some between these bounds, between them again.

        A pixel that was left alone is that of ``images``, bit by bit, and rounding takes none out
        of the bounds: libraries assert both.

        Args:
            found: (N, ...) in [0, 1].
            images: (N, ...) of which they were made, between the bounds.

        Example:
            >>> from holdfast.bridges.box import Box
            >>> box, images = Box(-1.8, 2.25), torch.tensor([[2.25, 0.1]])
            >>> torch.equal(box.restored(box.unit(images), images), images)
            True
        """
        return torch.where(found == self.unit(images), images, self._between(self.back(found)))

    def _between(self, x: Tensor) -> Tensor:
        """No pixel out of the bounds, though the nearest that its type holds to them may be."""
        low, high = (torch.tensor(end, dtype=x.dtype) for end in (self.low, self.high))
        if float(low) < self.low:
            low = torch.nextafter(low, high)
        if float(high) > self.high:
            high = torch.nextafter(high, low)
        return x.clamp(float(low), float(high))

    def whole(self, x: Images, images: Shaped[Tensor, "n *image"], threat: Threat) -> Images:
        """Whole numbers for images between these bounds, made of some that are such numbers.

        They are the nearest. Where an image would leave its ball, or the bounds, with those, each
        of its pixels goes towards the clean one.

        Example:
            >>> from holdfast import Linf
            >>> from holdfast.bridges.box import Box
            >>> box, images = Box(0, 255), torch.tensor([[100]])
            >>> x = torch.tensor([[107.6]])
            >>> box.whole(x, images, Linf(8 / 255)), box.whole(x, images, Linf(7.6 / 255))
            (tensor([[108.]]), tensor([[107.]]))
        """
        wide = widest(x.device)
        clean = images.to(x.dtype)
        inward = clean + (x - clean).trunc()
        nearest = torch.where((x.round() >= self.low) & (x.round() <= self.high), x.round(), inward)
        distance = threat.distance(self.unit(nearest.to(wide)), self.unit(clean.to(wide)))
        beyond = distance > threat.eps * (1 + 1e-6)  # as far as `verify` lets an attack go
        return torch.where(expand(beyond, x), inward, nearest)

    def size(self, eps: float, p: float = 2.0) -> float:
        """The size of a ball between these bounds, in [0, 1]; ℓ0 counts whatever the bounds are."""
        return eps if p == 0 else eps / (self.high - self.low)


class Rescaled(nn.Module):
    """Any function on images between some bounds, as a model on images in [0, 1].

    Args:
        call: (N, ...) images between the bounds -> logits (N, K).
        box: the bounds.

    Example:
        >>> from holdfast.bridges.box import Box, Rescaled
        >>> there = Rescaled(lambda images: model((images + 1) / 2), Box(-1.0, 1.0))
        >>> bool(torch.allclose(there(x), model(x), atol=1e-5))
        True
    """

    def __init__(self, call: Callable[[Tensor], Tensor], box: Box) -> None:
        super().__init__()
        self.call, self.box = call, box
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images in [0, 1]."""
        return self.call(self.box.back(x))
