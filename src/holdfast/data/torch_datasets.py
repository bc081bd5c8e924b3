"""Data sets of torchvision by their classes' names, and any of PyTorch's map-style data sets.

    torchvision(name=SVHN)        of_dataset(SVHN("data", split="test", transform=v2.Resize(40)))

Transforms of torchvision, v2 among them, are the data set's own; to normalise is the model's part.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from holdfast.data.labelled import Data
from holdfast.data.made import made_of
from holdfast.data.names import DATASETS, Split, directory
from holdfast.data.reading import Interpolation, Reading
from holdfast.errors import InputError, InputTypeError, MissingFileError, kind_of, unknown
from holdfast.files import StrPath

__all__ = ["of_dataset"]

#: Where data sets keep all labels, so that no image is decoded to know them.
_LABELS = ("targets", "labels", "_labels", "_targets")


def of_dataset(
    dataset: Any,
    *,
    classes: Sequence[str] | None = None,
    name: str = "",
    reading: Reading | None = None,
) -> Data:
    """A map-style data set of PyTorch as Holdfast's data: images are read when they are asked for.

    Args:
        dataset: of (image, label) pairs; images of Pillow or tensors (C, H, W), 8-bit or in [0, 1].
        classes: their names; those of the data set, or numbers, by default.
        name: for the record; its class by default.
        reading: how images are resized and cut, after the data set's own transforms.

    Raises:
        InputTypeError: if it has no length or no items.
        InputError: if labels are no class numbers, or images are normalised or of many shapes.
        DamagedFileError: if an image cannot be read.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> from holdfast.data import of_dataset
        >>> data = of_dataset(TensorDataset(x, y), classes=["cat", "dog", "car"])
        >>> len(data), data.shape, data.classes[int(data.y[0])]
        (4, (1, 8, 8), 'cat')
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise InputTypeError(
            f"the data set is {kind_of(dataset)}, but must have a length and items, "
            "(image, label) pairs."
        )
    called = name or type(dataset).__name__
    y = torch.as_tensor(_labels(dataset))
    if y.dim() != 1 or y.is_floating_point() or len(y) != len(dataset):
        raise InputError(f"the labels of {called} are no class numbers, one for each image.")
    names = classes or getattr(dataset, "classes", None)
    if names is None:
        names = [str(number) for number in range(int(y.max()) + 1)] if len(y) else []
    return made_of(called, names, y, lambda place: dataset[place][0], reading or Reading())


def _labels(dataset: Any) -> Any:
    """All labels, as they are kept, or one by one where a transform changes them."""
    if getattr(dataset, "target_transform", None) is None:
        for attribute in _LABELS:
            kept = getattr(dataset, attribute, None)
            if kept is not None and len(kept) == len(dataset):
                return [int(label) for label in kept]
    return [int(dataset[place][1]) for place in range(len(dataset))]


@DATASETS.named("torchvision")
def torchvision_named(
    split: Split,
    data_dir: StrPath | None,
    name: str,
    resize: int | None = None,
    crop: int | None = None,
    interpolation: Interpolation = "bilinear",
    channels: Literal[1, 3] | None = None,
) -> Data:
    """Any of torchvision's image classification data sets, as in torchvision(name=SVHN)."""
    reading = Reading(resize, crop, interpolation, channels)
    from torchvision import datasets

    known = [one for one in datasets.__all__ if hasattr(getattr(datasets, one), "__getitem__")]
    if name not in known:
        raise unknown("data set of torchvision", name, known)
    kind, place = getattr(datasets, name), directory(data_dir)
    takes = inspect.signature(kind).parameters
    given: dict[str, Any] = {"train": split == "train"} if "train" in takes else {}
    if "split" in takes:
        given["split"] = split
    try:
        found = _found(kind, place, given, "download" in takes)
    except Exception as error:  # torchvision's readers fail in many ways
        raise MissingFileError(
            f"{name} is not whole in {place} and could not be downloaded, torchvision says: "
            f"{' '.join(str(error).split())[:300]}; put its files there, or name their folder by "
            "--data-dir or HOLDFAST_DATA."
        ) from error
    return of_dataset(found, name=name, reading=reading)


def _found(kind: Any, place: Path, given: dict[str, Any], downloads: bool) -> Any:
    try:
        return kind(place, **given)
    except (RuntimeError, FileNotFoundError):
        if not downloads:
            raise
        return kind(place, download=True, **given)
