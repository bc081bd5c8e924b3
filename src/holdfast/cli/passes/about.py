"""What must be known of a command's images: how many there are, their shape, and the classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from holdfast import data as datasets
from holdfast.data.folders import folder_named
from holdfast.data.names import Split


class _Set(NamedTuple):
    """A data set by name: how many images are in each part, the shape of one, and the classes."""

    train: int
    test: int
    shape: tuple[int, ...]
    classes: int


_SETS = {
    "digits": _Set(1297, 500, (1, 8, 8), 10),
    "mnist": _Set(60_000, 10_000, (1, 28, 28), 10),
    "fashion-mnist": _Set(60_000, 10_000, (1, 28, 28), 10),
    "cifar10": _Set(50_000, 10_000, (3, 32, 32), 10),
    "tiny-imagenet": _Set(100_000, 10_000, (3, 64, 64), 200),
    # Its training and validation images. What stands in for networks of its images and classes
    # would take gigabytes: they are told of as if they were smaller.
    "imagenet": _Set(1_281_167, 50_000, (3, 32, 32), 1000),
}


@dataclass(frozen=True)
class About:
    """The images of a command.

    Attributes:
        images: how many; None if it cannot be told.
        shape: of one; of CIFAR-10's where it is not known, and of ImageNet's. Only finite
            differences take more passes of a larger one.
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


#: Shape of an image of data that nothing is known of.
_UNKNOWN = (3, 32, 32)

#: How many images, their shape, and how many classes.
_Found = tuple[int | None, tuple[int, ...], int | None]


@cache
def _known(name: str, split: Split, data_dir: str) -> _Found:
    bare = name.partition("(")[0].strip()
    if bare in _SETS:
        found = _SETS[bare]
        return getattr(found, split), found.shape, found.classes
    if bare == name and folder_named(name, data_dir or None) is not None:
        images = datasets.load(name, split, data_dir=data_dir or None)
        return len(images), images.shape, len(images.classes)
    return None, _UNKNOWN, None
