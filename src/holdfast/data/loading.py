"""Data sets as the command line names them."""

import os
import re
from dataclasses import replace

import torch

from holdfast import specs
from holdfast.checks import warn_of
from holdfast.data.folders import folder_named, images_in
from holdfast.data.labelled import Data
from holdfast.data.names import DATASETS, UNSORTED, Split
from holdfast.data.reading import Reading
from holdfast.errors import InputError, MissingFileError, unknown
from holdfast.files import StrPath
from holdfast.parameters import check

__all__ = ["load"]


def load(
    name: str,
    split: Split = "test",
    *,
    data_dir: StrPath | None = None,
    limit: int | None = None,
) -> Data:
    """Load a data set.

    Args:
        name: a name in `DATASETS`, with parameters if wanted, ``imagenet(resize=342, crop=299)``,
            or an image folder: its path, or its name in ``data_dir``. That is one folder for each
            class, or ``train`` and ``test`` (or ``val``) folders of those; images that are not all
            of one size are ``folder(path=photos, resize=256, crop=224)``.
        split: "train" or "test".
        data_dir: where torchvision's files lie or go to, and ImageNet, TinyImageNet and image
            folders that are named; else HOLDFAST_DATA; else ``~/.cache/holdfast``.
        limit: keep this many images: the first ones, or, of image files, which are sorted by class,
            evenly spaced ones, so that all classes are there; if there are fewer, all of them, and
            a warning.

    Raises:
        UnknownNameError: if ``name`` is neither, or has no such parameter.
        MissingFileError: if files are missing and cannot be downloaded.
        DamagedFileError: if a file cannot be read.
        InputTypeError: if ``split`` is another, or ``limit`` or a parameter is not what it must be.
        InputError: if ``limit`` is below 1, a folder holds no images or images of many shapes, a
            parameter is wrong, or ``data_dir`` is given for data that are not looked for there.

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
    data = replace(_named(name, split, data_dir), name=name)
    if limit is None or limit >= len(data):
        if limit is not None and limit > len(data):
            there = f"{name} has {len(data)} in {split}"
            warn_of([f"{limit} images are asked for, but {there}: all of them are taken."])
        return data
    index = torch.arange(limit)
    first = name.partition("(")[0].strip() in UNSORTED
    return data.take(index if first else index * len(data) // limit)


def _named(name: str, split: Split, data_dir: StrPath | None) -> Data:
    if name not in DATASETS and (root := folder_named(name, data_dir)):
        return images_in(root, split, Reading())
    if name in DATASETS or re.match(r"[\w-]+\s*\(", name):
        example = "imagenet(resize=342, crop=299)"
        return specs.build(name, "data set", DATASETS, split, data_dir, example=example)
    if os.sep in name or name.startswith("."):
        raise MissingFileError(f"there is no image folder {name}.")
    raise unknown("data set", name, DATASETS)
