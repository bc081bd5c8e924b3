"""What must be known of a command's images: how many there are, their shape, and the classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from holdfast import data as datasets
from holdfast.data.folders import folder_named
from holdfast.data.names import Split

_SIZES = {
    ("digits", "train"): 1297,
    ("digits", "test"): 500,
    ("mnist", "train"): 60_000,
    ("mnist", "test"): 10_000,
    ("cifar10", "train"): 50_000,
    ("cifar10", "test"): 10_000,
}

#: Of an image, of the data sets in which all are alike.
_SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}

_CLASSES = {"digits": 10, "mnist": 10, "fashion-mnist": 10, "cifar10": 10, "imagenet": 1000}


@dataclass(frozen=True)
class About:
    """The images of a command.

    Attributes:
        images: how many; None if it cannot be told.
        shape: of one; of CIFAR-10's where it is not known, since few numbers hang on it.
        classes: of the data; None if it cannot be told.
    """

    images: int | None
    shape: tuple[int, ...]
    classes: int | None


def about(options: Mapping[str, Any], split: Split) -> About:
    """The images that options ask for; a folder of images is looked into, and nothing downloaded.

    Raises:
        HoldfastError: if a folder cannot be read.
    """
    name, asked = str(options.get("data")), options.get("images")
    there, shape, classes = _known(name, split, str(options.get("data_dir") or ""))
    images = asked if there is None or (asked is not None and asked < there) else there
    return About(images, shape, classes)


#: How many images, their shape, and how many classes.
_Found = tuple[int | None, tuple[int, ...], int | None]


@cache
def _known(name: str, split: Split, data_dir: str) -> _Found:
    if name in _SHAPES:
        return _SIZES[name, split], _SHAPES[name], _CLASSES[name]
    bare = name.partition("(")[0].strip()
    if bare == name and folder_named(name, data_dir or None) is not None:
        found = datasets.load(name, split, data_dir=data_dir or None)
        return len(found), found.shape, len(found.classes)
    return None, (3, 32, 32), _CLASSES.get(bare)
