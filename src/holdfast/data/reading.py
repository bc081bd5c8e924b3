"""How an image is read from its file: decoded, resized, cropped.

Resizing and cropping are torchvision's, as the transforms of pretrained weights do them before they
normalise; to normalise is the model's affair, and happens there once.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from holdfast.errors import DamagedFileError, InputError, kind_of
from holdfast.files import StrPath, check_regular
from holdfast.parameters import at_least_one

Interpolation: TypeAlias = Literal["bilinear", "bicubic"]

#: What is decoded, whatever a file is called: Pillow goes by the content, and holes have been found
#: in its decoders of rarer formats.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP")

#: Formats whose grey pixels of 16 bits Pillow holds in 32.
_WIDENED = ("PNG", "PPM")

#: Pillow's modes without a white.
_NO_WHITE = {"I": "32-bit whole numbers", "F": "floating point"}

#: The longest side that is taken, so that a slip of the pen does not fill the memory.
_LONGEST = 4096


@dataclass(frozen=True)
class Reading:
    """How an image is read.

    Attributes:
        resize: pixels of the shorter side, antialiased; None leaves the size.
        crop: pixels of each side of the square that is cut out of the centre; None for no cut.
        interpolation: of resizing.
        channels: 1 makes colour images grey, 3 gives grey ones three equal channels; None leaves
            grey images grey, and makes all others three channels.
    """

    resize: int | None = None
    crop: int | None = None
    interpolation: Interpolation = "bilinear"
    channels: Literal[1, 3] | None = None

    def __post_init__(self) -> None:
        """Raise `InputError` if sides are no sizes, or do not fit together."""
        at_least_one(resize=self.resize, crop=self.crop)
        for name, side in (("resize", self.resize), ("crop", self.crop)):
            if side is not None and side > _LONGEST:
                raise InputError(f"{name} is {side}, but must be at most {_LONGEST} pixels.")
        if self.resize is None and self.interpolation != "bilinear":
            raise InputError(
                f"interpolation={self.interpolation} is about resizing: give resize, or leave it "
                "out."
            )
        if self.resize is not None and self.crop is not None and self.crop > self.resize:
            raise InputError(
                f"crop is {self.crop}, but must be at most resize, {self.resize}, the shorter side "
                "that it is cut from; give a larger resize, as in resize=342, crop=299."
            )

    def __str__(self) -> str:
        """What is done to an image, to tell data apart; nothing for one that is only decoded."""
        said = [f"resize={self.resize} {self.interpolation}"] if self.resize else []
        said += [f"crop={self.crop}"] if self.crop else []
        said += [f"channels={self.channels}"] if self.channels else []
        return ", ".join(said)

    def pixels(self, path: StrPath) -> Float[Tensor, "c h w"]:
        """One image, in [0, 1].

        Raises:
            DamagedFileError: if the file is damaged or no image.
            InputError: if the image is smaller than what is to be cut out of it, or its pixels
                say of no number that it is white.
        """
        check_regular(Path(path))
        try:
            with Image.open(path, formats=FORMATS) as file:
                if math.prod(file.size) > (Image.MAX_IMAGE_PIXELS or math.inf):
                    raise Image.DecompressionBombError(f"{file.width}×{file.height} pixels")
                image, white = self._decoded(file, path)
        except InputError:  # what it is, is known: its pixels are of no scale
            raise
        except Image.DecompressionBombError as error:
            raise DamagedFileError(
                f"{path} says that it is larger than any image of a data set should be ({error}), "
                "and to decode it may fill the memory; make it smaller, or take it away."
            ) from error
        except Exception as error:  # a stranger's file may make any step of a decoder fail
            raise DamagedFileError(f"{path} is damaged or no image: {error}.") from error
        return self._pixels(image, white, path)

    def of(self, picture: Any, called: str) -> Float[Tensor, "c h w"]:
        """A picture that somebody else read, in [0, 1]; one of Pillow, or a tensor or array.

        Args:
            picture: of Pillow, or (C, H, W) or (H, W), 8-bit or in [0, 1].
            called: what it is, for messages.

        Raises:
            InputError: if it is none of these, smaller than what is to be cut out of it, or its
                pixels say of no number that it is white.
        """
        if isinstance(picture, Image.Image):
            return self._pixels(*self._decoded(picture, called), called)
        try:
            found = torch.as_tensor(picture)
        except (TypeError, ValueError, RuntimeError):
            found = torch.empty(0, dtype=torch.bool)
        white = 255 if found.dtype == torch.uint8 else 1
        if found.dim() not in (2, 3) or not (found.is_floating_point() or white == 255):
            raise InputError(
                f"{called} is {kind_of(picture)}, but must be a picture of Pillow or a "
                "tensor (C, H, W), 8-bit or floating point."
            )
        found = (found if found.dim() == 3 else found[None]).float() / white
        if self.channels is not None and len(found) != self.channels:
            grey = found.mean(dim=0, keepdim=True)
            found = grey if self.channels == 1 else grey.expand(3, -1, -1)
        if not bool(((found >= 0) & (found <= 1)).all()):
            raise InputError(
                f"{called} has values outside [0, 1]: leave normalisation to the model, and out of "
                "the transforms."
            )
        fitted: Tensor = self._fitted(found, called)
        return fitted.clamp(0, 1)

    def _pixels(self, image: Image.Image, white: int, path: StrPath) -> Tensor:
        """Resized and cut, as numbers."""
        array = np.array(self._fitted(image, path), dtype=np.float32) / white
        pixels = torch.from_numpy(array)
        if pixels.dim() == 3:
            return pixels.permute(2, 0, 1)
        return pixels.clamp(0, 1).expand(self.channels or 1, -1, -1)

    def _decoded(self, file: Image.Image, path: StrPath) -> tuple[Image.Image, int]:
        """The image, and what white is in it."""
        if file.mode.startswith("I;16") or (file.mode == "I" and file.format in _WIDENED):
            return Image.fromarray(np.array(file, dtype=np.float32)), 65535
        if file.mode in _NO_WHITE:  # Pillow would cut all of it off at 255
            raise InputError(
                f"{path} has pixels of {_NO_WHITE[file.mode]}, which say of no number that it is "
                "white: save it with 8 or 16 bits a pixel."
            )
        grey = file.mode in ("1", "L") if self.channels is None else self.channels == 1
        return file.convert("L" if grey else "RGB"), 255

    def _fitted(self, image: Any, path: StrPath) -> Any:
        """The picture, or tensor (C, H, W), resized and cut."""
        if self.resize is self.crop is None:
            return image
        from torchvision.transforms import InterpolationMode, functional

        if self.resize is not None:
            image = functional.resize(
                image, self.resize, InterpolationMode(self.interpolation), antialias=True
            )
        if self.crop is None:
            return image
        height, width = functional.get_dimensions(image)[1:]
        if min(height, width) < self.crop:
            raise InputError(
                f"{path} has {width}×{height} pixels, less than crop={self.crop}: give "
                "resize too, the shorter side before the cut."
            )
        return functional.center_crop(image, self.crop)
