"""A finished run, held against the model and the images that are said to be its own."""

from typing import Any

import pandas as pd

from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.files import StrPath
from holdfast.results import read_about, read_rows
from holdfast.tensors import fingerprint
from holdfast.types import Model


def finished(
    run: StrPath, model: Model, data: Data, *, kind: str, called: str, done: str
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows of a run, and what run.json says.

    Args:
        run: its folder.
        model: that it is about.
        data: that it is about.
        kind: of run, as run.json has it.
        called: a run of this kind, in words.
        done: what such a run does with a model, in words.

    Raises:
        MissingFileError, DamagedFileError: if the folder holds no run, or not what one writes.
        InputError: if it is another kind of run, not finished, or of another model or other images.
    """
    about = read_about(run)
    if about["kind"] != kind or not about["complete"]:
        raise InputError(f"{run} is no finished {called}; this audit is of one.")
    rows = read_rows(run)
    for name, mine in (
        ("model_fingerprint", fingerprint(model)),
        ("data_fingerprint", data.fingerprint()),
    ):
        if about["settings"][name] != mine:
            what = name.partition("_")[0]
            raise InputError(
                f"{run} is of another {what} ({name} {about['settings'][name]}, and of this one "
                f"{mine}): give the {what} that was {done}."
            )
    return rows, about
