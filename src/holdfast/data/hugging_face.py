"""Data sets of the Hugging Face hub, or of a folder: ``hf(path=owner/name, image=img)``."""

from pathlib import Path
from typing import Any, Literal

import torch

from holdfast.data.labelled import Data
from holdfast.data.made import made_of
from holdfast.data.names import DATASETS, Split, directory
from holdfast.data.reading import Interpolation, Reading
from holdfast.errors import InputError, MissingFileError, unknown
from holdfast.files import StrPath
from holdfast.imports import needed


@DATASETS.named("hf")
def hugging_face(
    split: Split,
    data_dir: StrPath | None,
    path: str,
    part: str | None = None,
    config: str | None = None,
    image: str = "image",
    label: str = "label",
    resize: int | None = None,
    crop: int | None = None,
    interpolation: Interpolation = "bilinear",
    channels: Literal[1, 3] | None = None,
) -> Data:
    """Any data set of the Hugging Face hub with images and labels, as in hf(path=owner/name)."""
    reading = Reading(resize, crop, interpolation, channels)
    with needed("datasets", f"hf(path={path})"):
        import datasets
    local = next((p for p in (Path(path), directory(data_dir) / path) if p.is_dir()), None)
    try:
        found = _opened(datasets, path, local, config)
    except Exception as error:  # of the network, of the hub, of the cache
        raise MissingFileError(
            f"the data set {path} is neither a folder nor in the Hugging Face cache, and could not "
            f"be downloaded ({' '.join(str(error).split())[:200]}); set HF_HOME to the folder of a "
            "cache that holds it."
        ) from error
    table = _part(found, path, split, part)
    for what, column in (("image", image), ("label", label)):
        if column not in table.column_names:
            raise InputError(
                f"{path} has no column {column!r}, but {', '.join(table.column_names)}: say which "
                f"holds the {what}s, {what}=..."
            )
    names = getattr(table.features[label], "names", None)
    y = torch.tensor(table[label][:])
    if y.dim() != 1 or y.is_floating_point():
        raise InputError(f"{label} of {path} is no column of class numbers.")
    classes = names or [str(number) for number in range(int(y.max()) + 1)]
    version = str(table._fingerprint)
    return made_of(path, classes, y, lambda place: table[place][image], reading, version)


def _opened(datasets: Any, path: str, local: Path | None, config: str | None) -> Any:
    """By its files if ``save_to_disk`` wrote them, else as the hub's."""
    if local is not None and any(local.glob("**/dataset_info.json")):
        return datasets.load_from_disk(str(local))
    return datasets.load_dataset(str(local or path), config)


def _part(found: Any, path: str, split: Split, part: str | None) -> Any:
    """The part for ``split``; a test set may be called validation."""
    if not hasattr(found, "keys"):
        return found
    wanted = [part] if part else ["train"] if split == "train" else ["test", "validation", "valid"]
    for name in wanted:
        if name in found:
            return found[name]
    if part:
        raise unknown(f"part of {path}", part, found)
    raise InputError(
        f"{path} has no part for {split} images, but {', '.join(found)}: say which, part=..."
    )
