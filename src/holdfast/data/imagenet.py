"""ImageNet (ILSVRC 2012), as torchvision unpacks it.

    train/n01440764/n01440764_10026.JPEG    1,281,167 images
    val/n01440764/ILSVRC2012_val_00000293.JPEG    50,000 images, the test set

Classes are numbered in the order of their names, which is that of the outputs of torchvision's and
timm's networks.
"""

import re

from holdfast.data.files import of_files
from holdfast.data.folders import class_folders, sorted_by_class
from holdfast.data.labelled import Data
from holdfast.data.names import DATASETS, Split, directory
from holdfast.data.reading import Interpolation, Reading
from holdfast.errors import InputError, MissingFileError
from holdfast.files import StrPath

CLASSES = 1000

#: Where it is looked for in the folder of the data; that may also be ImageNet's own.
_PLACES = ("imagenet", "ILSVRC2012", ".")


@DATASETS.named("imagenet")
def imagenet(
    split: Split,
    data_dir: StrPath | None,
    resize: int = 256,
    crop: int = 224,
    interpolation: Interpolation = "bilinear",
) -> Data:
    """1.3 million photographs, the middle 224×224 of 256; resize=342, crop=299 for Inception."""
    reading = Reading(resize, crop, interpolation, channels=3)
    part = "train" if split == "train" else "val"
    where = directory(data_dir)
    places = [where / place / part for place in _PLACES]
    top = next((place for place in places if place.is_dir()), None)
    if top is None:
        raise MissingFileError(
            f"ImageNet is not in {where}, where the {split} images would be in "
            f"{', '.join(map(str, places[:-1]))} or {places[-1]}: get the archives of ILSVRC 2012 "
            f"from image-net.org, unpack them by torchvision.datasets.ImageNet(folder, {part!r}), "
            "and name the folder by --data-dir or HOLDFAST_DATA."
        )
    classes = class_folders(top)
    if len(classes) != CLASSES or not all(re.fullmatch(r"n\d{8}", name) for name in classes):
        raise InputError(
            f"{top} holds {len(classes)} folders, but ImageNet's {CLASSES} classes have one each, "
            f"n01440764 and so on, as torchvision.datasets.ImageNet(folder, {part!r}) makes them; "
            "other classes, or fewer, are folder(path=..., resize=256, crop=224), for a network "
            "trained on them."
        )
    try:  # a part of the images is fine, since each class has its number all the same
        files, y = sorted_by_class(top, classes, allow_empty=True)
    except FileNotFoundError as error:
        raise InputError(f"the folders in {top} hold no image; unpack ImageNet again.") from error
    return of_files(top, classes, files, y, reading)
