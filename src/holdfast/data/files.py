"""Labelled images in files, which are decoded when their batch is asked for."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from holdfast.data.labelled import Data
from holdfast.data.reading import Reading
from holdfast.digests import digests
from holdfast.errors import InputError
from holdfast.types import Labels


def of_files(
    root: Path, classes: Sequence[str], files: Sequence[str], y: Labels, reading: Reading
) -> Data:
    """Images in files. Only paths and labels are in memory.

    Args:
        root: the folder that they lie in.
        classes: their names.
        files: paths, sorted by class.
        y: labels.
        reading: how an image is read; grey images get three channels if the first one has them.

    Raises:
        DamagedFileError: if the first file is damaged or no image; others when they are read.
        InputError: if an image is too small for the cut, or not of the first one's shape, likewise.
    """
    shape = tuple(reading.pixels(files[0]).shape)
    asked, said = reading, str(reading)
    if shape[0] == 3:
        reading = replace(reading, channels=3)

    def read(index: Tensor) -> Tensor:
        x = torch.empty(len(index), *shape)

        def put(place: int) -> None:
            file = files[int(index[place])]
            pixels = reading.pixels(file)
            if pixels.shape != shape:
                raise _other_shape(file, pixels, files[0], shape)
            x[place] = pixels

        workers = min(torch.get_num_threads(), len(index))
        if workers < 2:
            for place in range(len(index)):
                put(place)
        else:  # whoever decodes an image puts it where it belongs, so nothing depends on who does
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(put, range(len(index))))
        return x

    def contents(index: Tensor) -> list[str]:
        return [*digests(root, [Path(files[int(i)]) for i in index]), said]

    return Data(str(root), tuple(classes), y, shape, read, contents, asked)


def _other_shape(file: str, pixels: Tensor, first: str, shape: tuple[int, ...]) -> InputError:
    mend = "channels=3" if pixels.shape[1:] == shape[1:] else "resize=256, crop=224"
    return InputError(
        f"{file} has shape {tuple(pixels.shape)}, but {first} has {shape}; all images of a folder "
        f"must have one shape, which they are given by folder(path=..., {mend})."
    )
