"""TinyImageNet, as its archive unpacks.

    wnids.txt                                the 200 classes
    train/n01443537/images/n01443537_0.JPEG  100,000 images
    val/images/val_0.JPEG                    10,000 images, the test set
    val/val_annotations.txt                  their classes

The labels of its own test images were never published. Classes are numbered in the order of their
names, as in ImageNet.
"""

from pathlib import Path

import torch

from holdfast.data.files import of_files
from holdfast.data.folders import sorted_by_class
from holdfast.data.labelled import Data
from holdfast.data.names import DATASETS, Split, directory
from holdfast.data.reading import Interpolation, Reading
from holdfast.errors import DamagedFileError, MissingFileError
from holdfast.files import StrPath

_CLASSES = "wnids.txt"
_ANNOTATIONS = "val_annotations.txt"

#: Where it is looked for in the folder of the data; that may also be TinyImageNet's own.
_PLACES = ("tiny-imagenet-200", "tiny-imagenet", ".")


@DATASETS.named("tiny-imagenet")
def tiny_imagenet(
    split: Split,
    data_dir: StrPath | None,
    resize: int | None = None,
    crop: int | None = None,
    interpolation: Interpolation = "bilinear",
) -> Data:
    """110,000 photographs of 200 classes and 64×64 pixels; resized and cropped if asked for."""
    reading = Reading(resize, crop, interpolation, channels=3)
    where = directory(data_dir)
    places = [where / place for place in _PLACES]
    root = next((place for place in places if (place / _CLASSES).is_file()), None)
    if root is None:
        raise MissingFileError(
            f"TinyImageNet is not in {where}, where its {_CLASSES} would be in "
            f"{', '.join(map(str, places[:-1]))} or {places[-1]}: get tiny-imagenet-200.zip from "
            "cs231n.stanford.edu, unpack it, and name the folder by --data-dir or HOLDFAST_DATA."
        )
    classes = sorted(set(_lines(root / _CLASSES)))
    try:
        if split == "train":
            files, y = sorted_by_class(root / "train", classes)
        else:
            files, y = _annotated(root / "val", classes)
    except FileNotFoundError as error:
        raise DamagedFileError(
            f"the {split} images in {root} are not whole: {str(error).split('. ')[0]}; unpack "
            "tiny-imagenet-200.zip again."
        ) from error
    return of_files(root, classes, files, y, reading)


def _annotated(part: Path, classes: list[str]) -> tuple[list[str], torch.Tensor]:
    """The validation images, sorted by class and name, and their labels."""
    numbers = {name: number for number, name in enumerate(classes)}
    found = []
    for line in _lines(part / _ANNOTATIONS):
        file, _, rest = line.partition("\t")
        name = rest.partition("\t")[0]
        if name not in numbers:
            raise DamagedFileError(
                f"{part / _ANNOTATIONS} says {line[:60]!r}, but a line is the name of an image, "
                f"its class as in {_CLASSES}, and its box, with tabs between them; unpack "
                "tiny-imagenet-200.zip again."
            )
        found.append((numbers[name], file))
    found.sort()
    files = [str(part / "images" / file) for _, file in found]
    return files, torch.tensor([label for label, _ in found])


def _lines(path: Path) -> list[str]:
    """The lines of a text, of which it has at least one."""
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError:
        lines = []
    if not any(lines):
        raise FileNotFoundError(f"{path} holds no lines of text")
    return [line for line in lines if line.strip()]
