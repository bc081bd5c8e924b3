"""Shards of images, as WebDataset reads them: ``webdataset(path='shards/{000..003}.tar')``.

A sample is the files that share a name up to its first dot: an image, ``.jpg``, ``.png`` or another
that Pillow reads, and a class number in ``.cls``. Samples are kept encoded in memory, and decoded
when their batch is asked for, since a tar file is read from its beginning.
"""

import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from tarfile import TarError
from typing import Any, Literal

import torch
from PIL import Image

from holdfast.data.labelled import Data
from holdfast.data.made import made_of
from holdfast.data.names import DATASETS, Split, directory
from holdfast.data.reading import FORMATS, Interpolation, Reading
from holdfast.digests import digests
from holdfast.errors import DamagedFileError, InputError, MissingFileError
from holdfast.files import StrPath
from holdfast.imports import needed

_IMAGES = ("jpg", "jpeg", "png", "webp", "ppm", "pgm", "bmp", "tif", "tiff")


@DATASETS.named("webdataset")
def webdataset(
    split: Split,
    data_dir: StrPath | None,
    path: str,
    label: str = "cls",
    resize: int | None = None,
    crop: int | None = None,
    interpolation: Interpolation = "bilinear",
    channels: Literal[1, 3] | None = None,
) -> Data:
    """Images and class numbers in tar files, path='shards/{000..003}.tar'."""
    del split  # it is what the path names
    reading = Reading(resize, crop, interpolation, channels)
    with needed("webdataset", f"webdataset(path={path})"):
        import webdataset  # noqa: F401
        from webdataset.shardlists import expand_urls
    shards = [_shard(str(name), data_dir) for name in expand_urls(path)]
    encoded: list[bytes] = []
    labels: list[int] = []
    try:
        for sample in chain.from_iterable(map(_samples, shards)):
            picture = next((sample[kind] for kind in _IMAGES if kind in sample), None)
            if picture is None or label not in sample:
                raise InputError(
                    f"the sample {sample['__key__']} of {path} has {_kinds(sample)}, but needs an "
                    f"image, such as jpg, and a class number, {label}; say label=... if it has "
                    "another name."
                )
            encoded.append(picture)
            labels.append(int(sample[label]))
    except (ValueError, OSError, TarError) as error:
        if isinstance(error, InputError):
            raise
        raise DamagedFileError(f"{path} is damaged ({error}); get its files again.") from error
    if not labels:
        raise InputError(f"{path} holds no image.")
    classes = [str(number) for number in range(max(labels) + 1)]

    def picture_at(place: int) -> Image.Image:
        with Image.open(io.BytesIO(encoded[place]), formats=FORMATS) as file:
            file.load()
            return file

    version = "".join(digests(Path("/"), [shard.absolute() for shard in shards]))
    return made_of(path, classes, torch.tensor(labels), picture_at, reading, version)


def _samples(shard: Path) -> Iterator[dict[str, Any]]:
    """The samples of a shard, as WebDataset groups its files; they stay encoded."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    with shard.open("rb") as stream:
        yield from group_by_keys(tar_file_expander([{"url": str(shard), "stream": stream}]))


def _shard(name: str, data_dir: StrPath | None) -> Path:
    for place in (Path(name), directory(data_dir) / name):
        if place.is_file():
            return place
    raise MissingFileError(
        f"there is no shard {name}, here or in {directory(data_dir)}; shards are files, several "
        "as in 'shards/{000..003}.tar'."
    )


def _kinds(sample: dict[str, Any]) -> str:
    return ", ".join(sorted(kind for kind in sample if not kind.startswith("__"))) or "nothing"
