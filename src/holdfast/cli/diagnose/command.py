"""What the diagnoses, image by image, share: options, the run, and what is shown of it.

A diagnosis is written as a function of its own options that returns what to look at; `command`
makes the command of it, and gives it the options that all of them have.
"""

import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from holdfast import data as datasets
from holdfast.batch_size import BatchSize
from holdfast.checks import warn_of
from holdfast.cli.common import device, print_json, print_table
from holdfast.cli.options import Words
from holdfast.diagnose import Diagnosis, diagnose_data
from holdfast.diagnose.by_image import Found, summarised
from holdfast.errors import InputError
from holdfast.models import loading
from holdfast.models.external.library import read_otherwise
from holdfast.parameters import each_once
from holdfast.progress import showing
from holdfast.report import style
from holdfast.types import Model
from holdfast.workers import check_workers


class Shown(NamedTuple):
    """A diagnosis, its figures, and what is to be said of all models together."""

    diagnosis: Diagnosis
    figures: Callable[[Mapping[str, Found]], Mapping[str, Figure]]  # by the name of the file
    together: Callable[[Mapping[str, Found]], Mapping[str, float]] = lambda _: {}


@dataclass(frozen=True)
class Shared:
    """What every diagnosis is told.

    Args:
        model: Folder of a training run, a model.safetensors file, or package.module:callable; with
            layers in front if wanted, "binarise | runs/net"; several between commas are compared.
        data: Data set (`holdfast list`), with parameters if wanted, such as
            "imagenet(resize=342, crop=299)", or the path of an image folder.
        data_dir: Folder of named data sets and image folders; else HOLDFAST_DATA.
        images: Number of test images, the first ones or, of a folder, evenly spaced ones.
        batch_size: Images at once; on a GPU more are faster. auto is as many as half of free memory
            holds.
        seed: Of all randomness.
        accelerator: auto, cpu, cuda, ... as Lightning Fabric names them.
        workers: Processes of this machine that share the batches, each with a GPU if there are as
            many; or the address of a Ray cluster, ray://host:10001, whose workers do. They need
            holdfast[ray]; rows are the same whatever their number.
        out: Folder to keep rows, arrays and figures (PDF, SVG) in; nothing is kept without it.
        json: Print one JSON object and nothing else.
        quiet: Show no progress.
    """

    model: Words
    data: str = "digits"
    data_dir: Path | None = None
    images: int | None = None
    batch_size: BatchSize = 128
    seed: int = 0
    accelerator: str = "auto"
    workers: int | str | None = None
    out: Path | None = None
    json: bool = False
    quiet: bool = False


#: What the commands are made of, by the name of the function.
LOOKS: dict[str, Callable[..., Shown]] = {}


def _as_given(models: Words) -> Words:
    return models


def command(
    expand: Callable[[Words], Words] = _as_given, **defaults: Any
) -> Callable[[Callable[..., Shown]], Callable[..., None]]:
    """Make a command of a function that says what to look at.

    A function that takes ``_told`` is given the shared options too.

    Args:
        expand: makes of the models that are given those that are looked at.
        **defaults: of shared options, where another suits.
    """

    def around(function: Callable[..., Shown]) -> Callable[..., None]:
        LOOKS[function.__name__] = function
        takes = inspect.signature(function).parameters
        own = {name: parameter for name, parameter in takes.items() if name != "_told"}
        shared = {
            name: parameter.replace(
                kind=inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name, parameter.default),
            )
            for name, parameter in inspect.signature(Shared).parameters.items()
        }

        def run(**options: Any) -> None:
            told = Shared(**{name: options.pop(name) for name in shared})
            _check(told)
            shown = function(**options, **({"_told": told} if "_told" in takes else {}))
            _diagnose(shown, replace(told, model=expand(told.model)))

        run.__doc__ = _documented(function)
        run.__signature__ = inspect.Signature([*own.values(), *shared.values()])  # type: ignore[attr-defined]
        return run

    return around


def _documented(function: Callable[..., Shown]) -> str:
    """The help of a function's own options, and of those that all diagnoses have."""
    _, _, shared = (inspect.getdoc(Shared) or "").partition("Args:\n")
    own = inspect.getdoc(function) or ""
    return f"{own}\n{shared}" if "Args:\n" in own else f"{own}\n\nArgs:\n{shared}"


def _check(told: Shared) -> None:
    if not told.model:
        raise InputError("--model is empty; give at least one, or several between commas.")
    each_once("--model", told.model)
    check_workers(told.workers)


def _diagnose(shown: Shown, told: Shared) -> None:
    pictures = datasets.load(told.data, data_dir=told.data_dir, limit=told.images)
    where = device(told.accelerator)
    models: dict[str, Model] = {
        name: loading.load(name, pictures.shape).eval().to(where) for name in told.model
    }
    warn_of(note for network in models.values() for note in read_otherwise(network, pictures))
    with showing(not told.quiet) as progress:
        found = diagnose_data(
            shown.diagnosis,
            models,
            pictures,
            seed=told.seed,
            batch_size=told.batch_size,
            out=told.out,
            progress=progress,
            workers=told.workers,
        )
    cells = [{"model": name, **summarised(shown.diagnosis, of)} for name, of in found.items()]
    named = dict(zip(short_names(found), found.values(), strict=True))
    drawn = shown.figures(named) if told.out is not None else {}
    for name, figure in drawn.items():
        style.save(figure, Path(str(told.out)) / name)
    together = shown.together(found)
    if told.json:
        print_json({"cells": cells, **({"together": dict(together)} if together else {})})
        return
    print_table(shown.diagnosis.name, cells)
    for name, value in together.items():
        print(f"{name}, of all: {value:.4g}")
    for name in drawn:
        print(f"figure: {Path(str(told.out)) / name}.pdf")


def short_names(names: Iterable[str]) -> list[str]:
    """Names without the folder that all models are in, for figures that others are to see.

    Example:
        >>> from holdfast.cli.diagnose.command import short_names
        >>> short_names(["/home/me/runs/plain", "binarise | /home/me/runs/robust"])
        ['plain', 'binarise | robust']
        >>> short_names(["/home/me/runs/net/epochs/1.safetensors"])
        ['net/epochs/1.safetensors']
    """
    whole = list(names)
    layers = [name.rpartition(" | ")[:2] for name in whole]
    paths = [Path(name.rpartition(" | ")[2]) for name in whole]
    runs = [path.parents[1] if path.parent.name == "epochs" else path for path in paths]
    if len({run.is_absolute() for run in runs}) > 1:
        return whole
    common = os.path.commonpath([run.parent for run in runs])
    if not common:
        return whole
    places = [str(path.relative_to(common)) for path in paths]
    short = ["".join((*front, place)) for front, place in zip(layers, places, strict=True)]
    return short if len(set(short)) == len(short) else whole


def mean_known(values: np.ndarray) -> float:
    """The mean of what is known; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
