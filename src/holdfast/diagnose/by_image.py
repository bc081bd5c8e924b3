"""Diagnose models image by image, into a run folder: rows of numbers, and arrays beside them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from holdfast.batch_size import BatchSize, at_once, check_batch_size, in_a_chunk
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.files import StrPath
from holdfast.models.identity import identify
from holdfast.parameters import Seed, check_arguments, check_title
from holdfast.progress import Progress, silent
from holdfast.results import (
    Fitting,
    Missing,
    Part,
    Run,
    Work,
    in_pieces,
    kept_or_temporary,
    read_images,
    read_rows,
)
from holdfast.tensors import device_of
from holdfast.threads import suited_threads
from holdfast.types import Images, Labels, Model
from holdfast.workers import workers_at

__all__ = ["Diagnosis", "diagnose_data"]

#: What was found of a model, by name; the first axis of each array is the image.
Found = Mapping[str, np.ndarray]


@runtime_checkable
class Look(Protocol):
    """What is found of some images; the first axis of every tensor is the image."""

    def __call__(
        self, model: Model, x: Images, y: Labels, *, seed: Seed, index: Tensor
    ) -> Mapping[str, Tensor]:
        """One tensor for each thing that is found."""
        ...


@dataclass(frozen=True)
class Diagnosis:
    """What to look at, and what to say of it in a few numbers.

    Attributes:
        name: as the record and its users call it.
        settings: all that determines what is found, beside models, images and seed, as JSON can
            hold it.
        look: finds it, of a part of the images.
        summary: numbers about all images of a model; NaN where nothing can be said.

    Example:
        >>> from holdfast.diagnose import Diagnosis
        >>> def mean(model, x, y, *, seed, index):
        ...     return {"mean": x.flatten(1).mean(dim=1)}
        >>> diagnosis = Diagnosis("grey", {}, mean, lambda found: {"mean": found["mean"].mean()})
        >>> diagnosis.look(model, x, y, seed=0, index=torch.arange(4))["mean"].shape
        torch.Size([4])
    """

    name: str
    settings: Mapping[str, Any]
    look: Look
    summary: Callable[[Found], Mapping[str, float]]


def diagnose_data(
    diagnosis: Diagnosis,
    models: Mapping[str, Model],
    data: Data,
    *,
    seed: Seed = 0,
    batch_size: BatchSize = 128,
    out: StrPath | None = None,
    progress: Progress = silent,
    workers: int | str | None = None,
) -> dict[str, Found]:
    """Look at every image of a data set with every model.

        found[model][name][i] = look(model, x_i, y_i; seed, i)

    Numbers of an image stand in rows.csv, arrays beside them in images/; a cell is a model. An
    interrupted run goes on at the missing batch.

    When:
        For a run folder of any diagnosis.

    When not:
        For arrays alone: call the diagnosis itself.

    Traps:
        What a diagnosis finds of an image must not hang on its batch, since chunks are worked out
        again where a run was interrupted. A folder of another record is refused, never mixed.

    Args:
        diagnosis: what to look at.
        models: by name, on the device that is to do the work.
        data: the test set.
        seed: of all randomness.
        batch_size: images at once, or "auto" for as many as free memory holds.
        out: folder to keep the run in; a finished one is read.
        progress: told about every batch.
        workers: see `holdfast.evaluate`.

    Returns:
        For each model, what was found of every image, in the order of the images.

    Raises:
        InputError: if there is no model, or the diagnosis cannot be had of it.
        OutputError: if ``out`` cannot be written or holds another run.
        WorkersError: if there are no such workers, or they end on some batch each time.

    Reference:
        None: it runs what other pages cite.

    Example:
        >>> from holdfast.data import Data
        >>> from holdfast.diagnose import Diagnosis, diagnose_data
        >>> def mean(model, x, y, *, seed, index):
        ...     return {"mean": x.flatten(1).mean(dim=1)}
        >>> diagnosis = Diagnosis("grey", {}, mean, lambda found: {"mean": found["mean"].mean()})
        >>> diagnose_data(diagnosis, {"net": model}, Data.of(x, y))["net"]["mean"].shape
        (4,)
    """
    check_arguments(diagnose_data, locals())
    if not models:
        raise InputError("there is no model; give at least one by name.")
    for name in models:
        check_title("a model", name)
    check_batch_size(batch_size)
    names = list(models)
    identities = [identify(model, data) for model in models.values()]
    record = {
        "diagnosis": diagnosis.name,
        "model": names,
        **{name: [of[name] for of in identities] for name in identities[0]},
        "data": data.name,
        "data_fingerprint": data.fingerprint(),
        "images": len(data),
        **diagnosis.settings,
        "seed": seed,
        "batch_size": batch_size,
    }

    chunks = _Chunks(diagnosis.look, list(models.values()), data, seed)
    fitting = at_once(batch_size, chunks.models, data, most=len(data))

    def work(run: Run) -> None:
        batches = dict(enumerate(data.batches(in_a_chunk(batch_size))))
        work = Fitting(chunks.at_once, fitting)
        run.fill(batches, names, work, diagnosis.name, progress, engine)

    def results(run: Run, rows: pd.DataFrame) -> dict[str, Any]:
        cells = zip(names, _found(run.path, rows, len(names)), strict=True)
        about = {"batch_size": fitting.size} if batch_size == "auto" else {}
        told = [{"model": name, **summarised(diagnosis, of)} for name, of in cells]
        return {**about, "cells": told}

    with (
        workers_at(workers, device_of(next(iter(models.values()))), progress) as engine,
        suited_threads(data.shape, *models.values(), progress=progress),
        kept_or_temporary(out) as folder,
    ):
        if not Run(folder, "diagnose", record).complete:
            for cell in range(len(names)):  # what cannot be had is told before the folder is made
                chunks.found(cell, torch.arange(1))
        Run.resume_or(folder, "diagnose", record, work, results, progress=progress)
        return dict(zip(names, _found(folder, read_rows(folder), len(names)), strict=True))


@dataclass(frozen=True)
class _Chunks:
    """Computes what a chunk lacks; a cell is a model.

    Attributes:
        look: of the diagnosis.
        models: one for each cell.
        data: the test set.
        seed: of all randomness.
    """

    look: Look
    models: Sequence[Model]
    data: Data
    seed: Seed

    def at_once(self, size: int) -> Work:
        """The work with so many images in memory."""
        return in_pieces(self.compute, size)

    def compute(self, missing: Missing) -> Iterator[Part]:
        """The missing cells of a chunk, one after the other."""
        index, labels = missing.index.numpy(), self.data.y[missing.index].cpu().numpy()
        for cell in missing.cells:
            found = self.found(cell, missing.index)
            known = {"cell": cell, "index": index, "label": labels}
            numbers = {key: value.numpy() for key, value in found.items() if value.ndim == 1}
            arrays = {key: value for key, value in found.items() if value.ndim > 1}
            yield Part(cell, pd.DataFrame({**known, **numbers}), arrays)

    def found(self, cell: int, index: Tensor) -> Mapping[str, Tensor]:
        """What the model of a cell shows of some images."""
        model = self.models[cell]
        here = device_of(model)
        x, y, place = (each.to(here) for each in (self.data.x(index), self.data.y[index], index))
        found = self.look(model, x, y, seed=self.seed, index=place)
        return {key: value.detach().cpu() for key, value in found.items()}


def summarised(diagnosis: Diagnosis, found: Found) -> dict[str, float | None]:
    """The numbers of a diagnosis as JSON can hold them: None where nothing can be said.

    Example:
        >>> from holdfast.diagnose import Diagnosis
        >>> from holdfast.diagnose.by_image import summarised
        >>> nothing = Diagnosis("none", {}, lambda *_, **__: {}, lambda _: {"mean": float("nan")})
        >>> summarised(nothing, {})
        {'mean': None}
    """
    numbers = {key: float(value) for key, value in diagnosis.summary(found).items()}
    return {key: value if math.isfinite(value) else None for key, value in numbers.items()}


def _found(path: Path, rows: pd.DataFrame, cells: int) -> list[Found]:
    """What stands in a folder of each cell: the columns of its rows, and its arrays."""
    return [
        {
            **{name: column.to_numpy() for name, column in rows[rows["cell"] == cell].items()},
            **{name: array.numpy() for name, array in read_images(path, cell).items()},
        }
        for cell in range(cells)
    ]
