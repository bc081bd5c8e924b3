"""What a run folder holds, read and checked."""

import hashlib
import json
import os.path
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from holdfast.errors import DamagedFileError, InputError, MissingFileError
from holdfast.files import (
    StrPath,
    as_path,
    check_file,
    check_path,
    read_json,
    read_table,
    read_tensors,
)
from holdfast.results.columns import amounts_of_later_versions
from holdfast.results.schema import ABOUT, CLEAN, ROWS, check_about, check_rows

__all__ = [
    "ABOUT",
    "CLEAN",
    "IMAGES",
    "ROWS",
    "read_about",
    "read_images",
    "read_rows",
    "runs_in",
]

CHUNKS = "rows"
IMAGES = "images"

#: Columns of names, in which neither "NA" is a missing value nor "1" a number.
_TEXT = ("attack", "norm", "by", "bound", "interval")

#: What settings were called until 0.2, by the kind of run; now as the command's options are.
_SETTINGS_UNTIL_0_2: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "certify": {
            "n": "votes",
            "n0": "selection_votes",
            "bound": "bounds",
            "interval": "intervals",
            "radius": "radii",
        },
        "evaluate": {"keep": "keep_images"},
    }
)


def read_about(path: StrPath) -> dict[str, Any]:
    """What run.json says; settings of earlier versions by the names that they have now.

    Raises:
        MissingFileError: if the folder holds no run.
        DamagedFileError: if run.json cannot be read, or is not what a run writes.
        LaterVersionError: if a later version wrote it, in a format that this one does not know.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.results import read_about
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.1))}, out="run")
        >>> about = read_about("run")
        >>> about["kind"], about["complete"], about["settings"]["images"]
        ('evaluate', True, 4)
    """
    path = as_path(path)
    if not (path / ABOUT).exists():
        below = min(path.glob(f"*/{ABOUT}"), default=None)
        hint = f"{below.parent} holds one" if below else "give a folder that a command had as --out"
        raise MissingFileError(
            f"{path} holds no run of Holdfast: there is no {ABOUT} in it; {hint}."
        )
    about = read_json(path / ABOUT)
    if isinstance(about.get("settings"), dict) and isinstance(about.get("kind"), str):
        new = _SETTINGS_UNTIL_0_2.get(about["kind"], {})
        about["settings"] = {new.get(key, key): v for key, v in about["settings"].items()}
    check_about(path, about)
    return about


def runs_in(path: StrPath) -> list[Path]:
    """The runs of a folder: those of a study, and of any other run itself.

    Raises:
        MissingFileError: if the folder holds no run.
        DamagedFileError: if run.json is not what a study writes, or leads out of the folder.
        InputError: if it is a study that is not finished, or names a run that no folder can have.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.data import Data
        >>> from holdfast.evaluation import study
        >>> from holdfast.results import runs_in
        >>> attacks = [("fgsm", FGSM(Linf(0.3)))]
        >>> found = study({"net": model}, Data.of(x, y), attacks, seeds=(0, 1), out="study")
        >>> [run.as_posix() for run in runs_in("study")]
        ['study/1-net/seed-0', 'study/1-net/seed-1']
    """
    path = as_path(path)
    about = read_about(path)
    if about["kind"] != "study":
        return [path]
    if not about["complete"]:
        raise InputError(
            f"{path} is a study that is not finished: run the command that made it again, and it "
            "will go on where it stopped."
        )
    runs: list[str] = about["runs"]
    for run in runs:
        check_path(path / run)
        if not Path(os.path.realpath(path / run)).is_relative_to(os.path.realpath(path)):
            raise DamagedFileError(f"{path / ABOUT} names {run}, which is outside of its folder.")
    return [path / run for run in runs]


def read_rows(path: StrPath) -> pd.DataFrame:
    """All rows that a run has written so far, every number as it was.

    Raises:
        MissingFileError: if there are none.
        DamagedFileError: if a file cannot be read, or is not what a finished run wrote.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.results import read_rows
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.1))}, out="run")
        >>> read_rows("run").groupby("attack")["index"].count().to_dict()
        {'clean': 4, 'fgsm': 4}
    """
    path = as_path(path)
    whole, about = path / ROWS, read_about(path)
    if whole.exists():
        check_file(whole)
        if about.get("rows_sha256") not in (None, digest(whole.read_bytes())):
            raise DamagedFileError(
                f"{whole} is not what the run wrote: put its copy back, or repeat the run with "
                "another --out."
            )
        rows = read_csv(whole)
    else:
        files = sorted((path / CHUNKS).glob("*.csv"))
        if not files:
            raise MissingFileError(
                f"{path} holds no rows: put the copy of {ROWS} back, or repeat the run with "
                "another --out."
            )
        cells = groupby(files, lambda file: file.name.partition(".")[0])
        rows = pd.concat([_in_order(map(read_csv, mine)) for _, mine in cells], ignore_index=True)
        # A run that a later version took up: what the first chunks do not say is said of none.
        later = [name for name in amounts_of_later_versions(about["kind"]) if name in rows]
        rows = rows.drop(columns=[name for name in later if rows[name].isna().any()])
    if not about["complete"]:
        return rows
    named = about["settings"].keys() >= {"bounds", "intervals"}
    if about["kind"] == "certify" and named and not {"bound", "interval"} & {*rows}:
        bound, interval = (str(about["settings"][name]) for name in ("bounds", "intervals"))
        rows = rows.assign(bound=bound, interval=interval)  # of versions that knew one of each
    check_rows(path, about, rows)
    return rows


def _in_order(chunks: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The rows of a cell in the order of the examples, where there is one for each."""
    rows = pd.concat(chunks, ignore_index=True)
    if "index" in rows and rows["index"].is_unique:
        return rows.sort_values("index", ignore_index=True)
    return rows


def read_images(path: StrPath, cell: int, *needed: str) -> dict[str, Tensor]:
    """The images kept of a cell: index, x, x_adv and more; empty if none were.

    Args:
        path: of the run.
        cell: its number.
        needed: names of what has to be there.

    Raises:
        DamagedFileError: if a file cannot be read, the files of a cell do not go together, or
            something that is needed is in none.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.results import read_images
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.1))}, out="run")
        >>> kept = read_images("run", 1)  # cell 0 is the clean images
        >>> bool((kept["x_adv"] - kept["x"]).abs().max() <= 0.1)
        True
    """
    path = as_path(path)
    parts = [read_tensors(file)[0] for file in sorted((path / IMAGES).glob(f"{cell:04d}.*"))]
    try:
        names = parts[0] if parts else {}
        found = {name: torch.cat([part[name] for part in parts]) for name in names}
        if len(parts) > 1 and "index" in found:  # chunks may hold examples from here and there
            order = found["index"].argsort(stable=True)
            found = {name: kept[order] for name, kept in found.items()}
    except (KeyError, IndexError, RuntimeError) as error:
        raise DamagedFileError(
            f"the images of cell {cell} in {path / IMAGES} do not go together ({error}); put their "
            "copies back, or take the folder away."
        ) from error
    for name in needed:
        if name not in found:
            raise DamagedFileError(
                f"{path / IMAGES} holds no {name} of cell {cell}; put the copies of its files back."
            )
    return found


def check_finished(path: Path) -> None:
    """See that the run.json of a finished run is what was written.

    Earlier versions wrote no digest; of theirs, what stands there is checked, and the rows.

    Raises:
        DamagedFileError: if it is not.
    """
    about = read_about(path)
    written = about.pop("sha256", None)
    if written is None and (path / ROWS).exists():
        read_rows(path)
    if written is not None and written != digest_of(about):
        raise DamagedFileError(
            f"{path / ABOUT} is not what the run wrote: put its copy back, or repeat the run with "
            "another --out."
        )


def digest_of(about: Mapping[str, Any]) -> str:
    """Of what a run.json says, without its digest."""
    return digest(json.dumps(about, sort_keys=True).encode())


def read_csv(path: Path) -> pd.DataFrame:
    """One file of rows, every number as it was written."""
    return read_table(path, _TEXT)


def digest(content: bytes) -> str:
    """What tells whether a file is the one that was written."""
    return hashlib.sha256(content).hexdigest()
