"""Data sets: images in [0, 1] and labels, by name or from a folder of images.

``digits`` comes with scikit-learn and needs no file. The others are looked for where ``data_dir``
or the environment variable HOLDFAST_DATA says, and downloaded by torchvision if they are missing.
Any other name is that of an image folder there, or the path of one: one folder for each class, or
``train`` and ``test`` (or ``val``) folders of those.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from holdfast.digests import digests
from holdfast.errors import (
    DamagedFileError,
    DiskFullError,
    InputError,
    MissingFileError,
    no_room,
    unknown,
)
from holdfast.files import check_regular
from holdfast.parameters import check

__all__ = [
    "DIGITS_TEST",
    "NAMES",
    "Data",
    "Split",
    "load",
]

Split: TypeAlias = Literal["train", "test"]

#: Of the 1,797 digits, in the order in which scikit-learn gives them, the last 500 are the test
#: set; in that order one writer's digits follow another's, so most test writers are new.
DIGITS_TEST = 500

# By name, and imported where it is used, because torchvision takes two seconds to import.
_TORCHVISION: Mapping[str, str] = MappingProxyType(
    {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10"}
)
NAMES: Mapping[str, str] = MappingProxyType(
    {
        "digits": "1,797 handwritten digits of 8×8 pixels; comes with scikit-learn, no download",
        "mnist": "70,000 handwritten digits of 28×28 pixels",
        "fashion-mnist": "70,000 pieces of clothing of 28×28 pixels",
        "cifar10": "60,000 colour photographs of 32×32 pixels",
    }
)


@dataclass(frozen=True, eq=False)
class Data:
    """A set of labelled images.

    Attributes:
        name: as it was asked for.
        classes: names of the classes; label k means ``classes[k]``.
        y: (N,) labels.
        shape: (C, H, W) of every image.

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

    @classmethod
    def of(cls, x: Float[Tensor, "n *image"], y: Int[Tensor, " n"]) -> "Data":
        """Tensors that are in memory already."""
        names = tuple(str(k) for k in range(int(y.max()) + 1))
        x = x.cpu()
        return cls("tensors", names, y.cpu().long(), tuple(x.shape[1:]), lambda i: x[i])

    def __len__(self) -> int:
        return len(self.y)

    def x(self, index: Int[Tensor, " m"]) -> Float[Tensor, "m *image"]:
        """The images at ``index``, float32 in [0, 1]."""
        return self._read(index)

    def batches(self, size: int) -> Iterator[Int[Tensor, " m"]]:
        """Indices of consecutive batches of at most ``size`` images."""
        yield from torch.arange(len(self)).split(size)

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

        Of images in files it is one of the files' content, so that none is decoded for it.
        """
        content = hashlib.sha256(self.y.numpy().tobytes())
        if self._digests is not None:
            content.update("".join(self._digests(torch.arange(len(self)))).encode())
            return content.hexdigest()[:16]
        for index in self.batches(1024):
            content.update(self.x(index).numpy().tobytes())
        return content.hexdigest()[:16]

    def fingerprint_of_some(self) -> str:
        """That of 0.1.0: of the labels and up to 256 images."""
        some = torch.arange(len(self))[:: max(1, len(self) // 256)][:256]
        content = hashlib.sha256(self.y.numpy().tobytes())
        content.update(self.x(some).numpy().tobytes())
        return content.hexdigest()[:16]


def load(
    name: str,
    split: Split = "test",
    *,
    data_dir: str | Path | None = None,
    limit: int | None = None,
) -> Data:
    """Load a data set.

    Args:
        name: a key of ``NAMES``, or an image folder: its path, or its name in ``data_dir``.
        split: "train" or "test".
        data_dir: where torchvision's files lie or go to, and image folders that are named; else
            HOLDFAST_DATA; else ``~/.cache/holdfast``.
        limit: keep this many images: the first ones, or, of a folder, which is sorted by class,
            evenly spaced ones, so that all classes are there.

    Raises:
        UnknownNameError: if ``name`` is neither.
        MissingFileError: if files are missing and cannot be downloaded.
        DamagedFileError: if a file cannot be read.
        InputTypeError: if ``split`` is another, or ``limit`` no whole number.
        InputError: if ``limit`` is below 1, a folder holds no images or images of many shapes, or
            ``data_dir`` is given for data that are not looked for there.

    Example:
        >>> from holdfast import data
        >>> digits = data.load("digits", limit=50)
        >>> digits.shape, len(digits.classes), digits.x(torch.arange(50)).shape
        ((1, 8, 8), 10, torch.Size([50, 1, 8, 8]))
    """
    check("split", split, Split)
    check("limit", limit, int | None)
    if limit is not None and limit < 1:
        raise InputError(f"{limit} images are asked for, but at least 1 is needed.")
    if data_dir is not None and (name == "digits" or Path(name).is_dir()):
        raise InputError(
            f"{data_dir} is given for the files of named data sets (--data-dir), but {name} is "
            f"none that it is asked for; leave it out, or choose {', '.join(_TORCHVISION)}."
        )
    if name == "digits":
        data = _digits(split)
    elif name in _TORCHVISION:
        data = _from_torchvision(name, split, _directory(data_dir))
    elif folder := _folder_named(name, data_dir):
        data = replace(_folder(folder, split), name=name)
        if limit is not None and limit < len(data):
            return data.take(torch.arange(limit) * len(data) // limit)
    elif os.sep in name or name.startswith("."):
        raise MissingFileError(f"there is no image folder {name}.")
    else:
        raise unknown("data set", name, NAMES)
    return data if limit is None else data.take(torch.arange(min(limit, len(data))))


def _folder_named(name: str, data_dir: str | Path | None) -> Path | None:
    """The folder of images that a path, or a name in ``data_dir``, means; None if there is none."""
    if Path(name).is_dir():
        return Path(name)
    beside = _directory(data_dir) / name
    # "MNIST", a folder of torchvision's, is a slip of "mnist" and no folder of images.
    named = name.lower() not in _TORCHVISION and Path(name).name == name
    return beside if named and beside.is_dir() else None


def _directory(data_dir: str | Path | None) -> Path:
    given = data_dir or os.environ.get("HOLDFAST_DATA")
    return Path(given) if given else Path.home() / ".cache" / "holdfast"


def _in_memory(name: str, classes: tuple[str, ...], images: Tensor, y: Tensor) -> Data:
    """``images`` (N, C, H, W) as 8-bit integers, or as floats in [0, 1]."""
    scale = 255 if images.dtype == torch.uint8 else 1
    return Data(
        name, classes, y.long(), tuple(images.shape[1:]), lambda i: images[i].float() / scale
    )


def _digits(split: Split) -> Data:
    from sklearn.datasets import load_digits  # a second of import that other data need not pay

    bunch = load_digits()
    part = slice(-DIGITS_TEST, None) if split == "test" else slice(None, -DIGITS_TEST)
    images = torch.from_numpy(bunch.images[part]).float().unsqueeze(1) / 16
    names = tuple(str(name) for name in bunch.target_names)
    return _in_memory("digits", names, images, torch.from_numpy(bunch.target[part]))


def _from_torchvision(name: str, split: Split, directory: Path) -> Data:
    from torchvision import datasets

    kind, train = getattr(datasets, _TORCHVISION[name]), split == "train"
    for path in (directory / getattr(kind, "base_folder", f"{kind.__name__}/raw")).glob("*"):
        check_regular(path)
    try:
        try:
            found = kind(directory, train=train)
        except RuntimeError as error:
            if "not found" not in str(error):
                raise
            _download(name, kind, directory)
            found = kind(directory, train=train)
        images = torch.as_tensor(found.data)
        y = torch.as_tensor(found.targets)
        images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)
        if not len(images) == len(y) > 0 or int(y.min()) < 0 or int(y.max()) >= len(found.classes):
            raise ValueError("images and labels do not fit together")
    except MissingFileError:
        raise
    except Exception as error:  # torchvision's readers fail in many ways on a damaged file
        raise DamagedFileError(
            f"the files of {name} in {directory} are damaged ({error}); remove them to have them "
            "downloaded again, or give another --data-dir."
        ) from error
    return _in_memory(name, tuple(found.classes), images, y)


def _download(name: str, kind: Any, directory: Path) -> None:
    """Download to a temporary folder first, so that a failure leaves nothing behind."""
    with tempfile.TemporaryDirectory() as temporary:
        try:
            kind(temporary, download=True)
        except Exception as error:  # no network, a moved host, a wrong checksum
            _check_room(error, Path(temporary))
            raise MissingFileError(
                f"{name} is not in {directory} and could not be downloaded ({_brief(error)}); give "
                "the folder that holds it by --data-dir or HOLDFAST_DATA."
            ) from error
        try:
            shutil.copytree(temporary, directory, dirs_exist_ok=True)
        except OSError as error:
            _check_room(error, directory)
            raise MissingFileError(
                f"{name} was downloaded but cannot be saved in {directory} ({error}); give a "
                "folder that can be written by --data-dir or HOLDFAST_DATA."
            ) from error


def _check_room(error: Exception, directory: Path) -> None:
    if no_room(error):
        raise DiskFullError(
            f"there is no room in {directory} ({_brief(error)}); make some and run the same "
            "command again."
        ) from error


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())


def _folder(root: Path, split: Split) -> Data:
    from torchvision import datasets

    parts = [root / "train"] if split == "train" else [root / "test", root / "val"]
    top = next((part for part in parts if part.is_dir()), root)
    try:
        found = datasets.ImageFolder(top)
    except FileNotFoundError as error:
        raise InputError(
            f"{top} is no image folder: it needs one folder for each class, with images inside."
        ) from error
    files = [Path(path) for path, _ in found.samples]
    first = _pixels(files[0])

    def read(index: Tensor) -> Tensor:
        images = [_pixels(files[int(i)]) for i in index]
        for place, image in enumerate(images):
            if image.shape != first.shape:
                raise InputError(
                    f"{files[int(index[place])]} has shape {tuple(image.shape)}, but {files[0]} "
                    f"has {tuple(first.shape)}; all images of a folder must have one shape."
                )
        return torch.stack(images)

    y = torch.tensor(found.targets, dtype=torch.int64)
    return Data(
        str(root),
        tuple(found.classes),
        y,
        tuple(first.shape),
        read,
        lambda index: digests(top, [files[int(i)] for i in index]),
    )


def _pixels(path: Path) -> Float[Tensor, "c h w"]:
    """One image, grey images with one channel and all others with three."""
    check_regular(path)
    try:
        with Image.open(path) as file:
            if file.mode.startswith("I;16"):
                array = np.array(file, dtype=np.float32) / 65535
            else:
                image = file.convert("L" if file.mode in ("1", "L") else "RGB")
                array = np.array(image, dtype=np.float32) / 255
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DamagedFileError(f"{path} is damaged or no image: {error}.") from error
    pixels = torch.from_numpy(array)
    return pixels.unsqueeze(0) if pixels.dim() == 2 else pixels.permute(2, 0, 1)
