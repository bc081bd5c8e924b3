"""Labelled images, read one batch after the other."""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from holdfast.checks import check_images, check_labels
from holdfast.data.reading import Reading
from holdfast.tensors import bytes_of

__all__ = ["Data"]

#: Numbers that a pass over all images holds at once: 64 MiB of them.
_HELD = 2**24


@dataclass(frozen=True, eq=False)
class Data:
    """A set of labelled images.

    Attributes:
        name: as it was asked for.
        classes: names of the classes; label k means ``classes[k]``.
        y: (N,) labels.
        shape: (C, H, W) of every image.
        reading: how images are read from their files; None of images that were tensors before.

    Example:
        >>> from holdfast.data import Data
        >>> data = Data.of(x, y)
        >>> len(data), data.shape, data.x(torch.tensor([2, 3])).shape
        (4, (1, 8, 8), torch.Size([2, 1, 8, 8]))
    """

    name: str
    classes: tuple[str, ...]
    y: Int[Tensor, " n"]
    shape: tuple[int, ...]
    _read: Callable[[Tensor], Tensor]
    _digests: Callable[[Tensor], list[str]] | None = None  # of the files that images are read from
    reading: Reading | None = None

    @classmethod
    def of(cls, x: Float[Tensor, "n *image"], y: Int[Tensor, " n"]) -> "Data":
        """Tensors that are in memory already.

        Raises:
            InputTypeError, InputError: if they are no images in [0, 1] with a label each.
        """
        check_images(x)
        check_labels(y, len(x))
        y = y.cpu().long()
        names = tuple(str(k) for k in range(int(y.max()) + 1))
        x = x.detach().cpu()  # rows are no graph
        return cls("tensors", names, y, tuple(x.shape[1:]), lambda i: x[i])

    @classmethod
    def in_memory(cls, name: str, classes: tuple[str, ...], images: Tensor, y: Tensor) -> "Data":
        """``images`` (N, C, H, W) as 8-bit integers, or as floats in [0, 1]."""
        scale = 255 if images.dtype == torch.uint8 else 1
        return cls(
            name, classes, y.long(), tuple(images.shape[1:]), lambda i: images[i].float() / scale
        )

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the images."""
        return self.x(torch.arange(1)).dtype

    def __len__(self) -> int:
        return len(self.y)

    def x(self, index: Int[Tensor, " m"]) -> Float[Tensor, "m *image"]:
        """The images at ``index``, in [0, 1]: float32, or in the type of the tensor given."""
        return self._read(index)

    def batches(self, size: int) -> Iterator[Int[Tensor, " m"]]:
        """Indices of consecutive batches of at most ``size`` images."""
        yield from torch.arange(len(self)).split(size)

    def all_batches(self) -> Iterator[Int[Tensor, " m"]]:
        """Those of a pass over all images: 1024 each, or as many as memory is sure to hold."""
        return self.batches(max(1, min(1024, _HELD // math.prod(self.shape))))

    def take(self, index: Int[Tensor, " m"]) -> "Data":
        """The part of the set at ``index``."""
        digests = self._digests
        return replace(
            self,
            y=self.y[index],
            _read=lambda part: self._read(index[part]),
            _digests=None if digests is None else lambda part: digests(index[part]),
        )

    def fingerprint(self) -> str:
        """A hash of all labels and images, to tell whether a run meets the same data.

        Of images in files it is one of the files' content and of how they are resized and cropped,
        so that none is decoded for it.
        """
        content = hashlib.sha256(self.y.numpy().tobytes())
        if self._digests is not None:
            content.update("".join(self._digests(torch.arange(len(self)))).encode())
            return content.hexdigest()[:16]
        for index in self.all_batches():
            content.update(bytes_of(self.x(index)))
        return content.hexdigest()[:16]

    def fingerprint_of_some(self) -> str:
        """That of 0.1.0: of the labels and up to 256 images."""
        some = torch.arange(len(self))[:: max(1, len(self) // 256)][:256]
        content = hashlib.sha256(self.y.numpy().tobytes())
        content.update(bytes_of(self.x(some)))
        return content.hexdigest()[:16]
