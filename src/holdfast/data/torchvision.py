"""Data sets that torchvision reads, and downloads if they are missing."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from holdfast.data.labelled import Data
from holdfast.data.names import DATASETS, Split, directory
from holdfast.errors import DamagedFileError, DiskFullError, MissingFileError, no_room
from holdfast.files import StrPath, check_regular


@DATASETS.named("mnist")
def mnist(split: Split, data_dir: StrPath | None) -> Data:
    """70,000 handwritten digits of 28×28 pixels."""
    return _read("mnist", "MNIST", split, directory(data_dir))


@DATASETS.named("fashion-mnist")
def fashion_mnist(split: Split, data_dir: StrPath | None) -> Data:
    """70,000 pieces of clothing of 28×28 pixels."""
    return _read("fashion-mnist", "FashionMNIST", split, directory(data_dir))


@DATASETS.named("cifar10")
def cifar10(split: Split, data_dir: StrPath | None) -> Data:
    """60,000 colour photographs of 32×32 pixels."""
    return _read("cifar10", "CIFAR10", split, directory(data_dir))


def _read(name: str, reader: str, split: Split, place: Path) -> Data:
    from torchvision import datasets  # two seconds of import that other data need not pay

    kind, train = getattr(datasets, reader), split == "train"
    for path in (place / getattr(kind, "base_folder", f"{kind.__name__}/raw")).glob("*"):
        check_regular(path)
    try:
        try:
            found = kind(place, train=train)
        except RuntimeError as error:
            if "not found" not in str(error):
                raise
            _download(name, kind, place)
            found = kind(place, train=train)
        images = torch.as_tensor(found.data)
        y = torch.as_tensor(found.targets)
        images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)
        if not len(images) == len(y) > 0 or int(y.min()) < 0 or int(y.max()) >= len(found.classes):
            raise ValueError("images and labels do not fit together")
    except MissingFileError:
        raise
    except Exception as error:  # torchvision's readers fail in many ways on a damaged file
        raise DamagedFileError(
            f"the files of {name} in {place} are damaged ({error}); remove them to have them "
            "downloaded again, or give another --data-dir."
        ) from error
    return Data.in_memory(name, tuple(found.classes), images, y)


def _download(name: str, kind: Any, place: Path) -> None:
    """Download to a temporary folder first, so that a failure leaves nothing behind."""
    with tempfile.TemporaryDirectory() as temporary:
        try:
            kind(temporary, download=True)
        except Exception as error:  # no network, a moved host, a wrong checksum
            _check_room(error, Path(temporary))
            raise MissingFileError(
                f"{name} is not in {place} and could not be downloaded ({_brief(error)}); give "
                "the folder that holds it by --data-dir or HOLDFAST_DATA."
            ) from error
        try:
            shutil.copytree(temporary, place, dirs_exist_ok=True)
        except OSError as error:
            _check_room(error, place)
            raise MissingFileError(
                f"{name} was downloaded but cannot be saved in {place} ({error}); give a "
                "folder that can be written by --data-dir or HOLDFAST_DATA."
            ) from error


def _check_room(error: Exception, place: Path) -> None:
    if no_room(error):
        raise DiskFullError(
            f"there is no room in {place} ({_brief(error)}); make some and run the same "
            "command again."
        ) from error


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())
