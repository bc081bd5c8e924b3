"""Folders of images: one folder for each class, or ``train`` and ``test`` (or ``val``) of those."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from holdfast.data.files import of_files
from holdfast.data.labelled import Data
from holdfast.data.names import DATASETS, Split, directory, refuse
from holdfast.data.reading import Interpolation, Reading
from holdfast.errors import InputError, MissingFileError
from holdfast.files import StrPath
from holdfast.types import Labels


@DATASETS.named("folder")
def image_folder(
    split: Split,
    data_dir: StrPath | None,
    path: str,
    resize: int | None = None,
    crop: int | None = None,
    interpolation: Interpolation = "bilinear",
    channels: Literal[1, 3] | None = None,
) -> Data:
    """Images of any sizes, one folder a class, as in folder(path=photos, resize=256, crop=224)."""
    reading = Reading(resize, crop, interpolation, channels)
    root = folder_named(path, data_dir)
    if root is None:
        raise MissingFileError(
            f"there is no image folder {path}, here or in {directory(data_dir)}; give its path, or "
            "say by --data-dir or HOLDFAST_DATA where it lies."
        )
    return images_in(root, split, reading)


def folder_named(name: str, data_dir: StrPath | None) -> Path | None:
    """The folder of images that a path, or a name in ``data_dir``, means; None if there is none.

    Raises:
        InputError: if ``data_dir`` is given though it is a path.
    """
    if os.path.isdir(name):  # of a name that is too long for a path, too
        refuse(data_dir, name)
        return Path(name)
    beside = directory(data_dir) / name
    # "MNIST", a folder of torchvision's, is a slip of "mnist" and no folder of images.
    named = name.lower() not in DATASETS and Path(name).name == name
    return beside if named and os.path.isdir(beside) else None


def images_in(root: Path, split: Split, reading: Reading) -> Data:
    """The images of a folder, or of the part of it for ``split``.

    Classes are numbered as their folders within ``train`` are, where there is one: a class of which
    there is nothing to test leaves the others their numbers.

    Raises:
        InputError: if it is no image folder, a class has no image, or one that is tested is not
            among those of ``train``.
    """
    trained = root / "train"
    parts = [trained] if split == "train" else [root / "test", root / "val"]
    top = next((part for part in parts if part.is_dir()), root)
    apart = top not in (root, trained) and trained.is_dir()
    classes = class_folders(trained if apart else top)
    unknown = [name for name in class_folders(top) if name not in classes]
    if unknown:
        raise InputError(
            f"{top} holds a class {unknown[0]!r} that {trained} does not, whose folders number the "
            "classes; add it there, or take it away."
        )
    try:
        files, y = sorted_by_class(top, classes, allow_empty=apart)
    except FileNotFoundError as error:
        raise InputError(
            f"{top} is no image folder: it needs one folder for each class, with images inside, "
            f"and there is {error}."
        ) from error
    return of_files(top, classes, files, y, reading)


def class_folders(top: Path) -> list[str]:
    """The names of the folders within one, sorted: in this order are the classes numbered.

    Hidden ones, such as ``.git``, are none.

    Raises:
        InputError: if a name is no text, which no record of a run could hold.
    """
    names = sorted(entry.name for entry in top.iterdir() if _is_class(entry))
    for name in names:
        if any("\ud800" <= letter <= "\udfff" for letter in name):  # for bytes that are no text
            raise InputError(
                f"{top} holds a class called {name!r}, which is no text in UTF-8; give its folder "
                "another name."
            )
    return names


def _is_class(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def sorted_by_class(
    top: Path, classes: Sequence[str], *, allow_empty: bool = False
) -> tuple[list[str], Labels]:
    """Image files anywhere within the folders of ``classes``, and their labels.

    Raises:
        FileNotFoundError: if there is none at all, or none in a class and that is not allowed.
        InputError: if links make a folder stand in another twice, or in itself.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    numbers = {name: number for number, name in enumerate(classes)}
    if not numbers:
        raise FileNotFoundError(f"no folder in {top}")
    for name in classes:
        _check_links(top / name)
    found = make_dataset(top, numbers, IMG_EXTENSIONS, allow_empty=True)
    if not found:
        raise FileNotFoundError(f"no image in {top}")
    y = torch.tensor([label for _, label in found])
    empty = (y.bincount(minlength=len(classes)) == 0).nonzero()[:, 0]
    if len(empty) and not allow_empty:
        raise FileNotFoundError(f"no image in {top / classes[int(empty[0])]}")
    return [path for path, _ in found], y


def _check_links(top: Path) -> None:
    """Links within a folder are followed, round and round where they lead back."""
    seen: set[str] = set()
    for folder, _, _ in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            raise InputError(
                f"{folder} is a link, or within one, to a folder whose images are read already; "
                "take it away."
            )
        seen.add(real)
