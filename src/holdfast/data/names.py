"""The names of data sets, and where their files are looked for."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from holdfast.data.labelled import Data
from holdfast.errors import InputError
from holdfast.files import StrPath, check_path
from holdfast.registry import Registry

Split: TypeAlias = Literal["train", "test"]

#: (split, data_dir, parameters of the spec) -> data; entered where each is defined.
DATASETS: Registry[Callable[..., Data]] = Registry("data set")

#: Their classes come in any order, so a limit takes the first images; all else is sorted by class.
UNSORTED = frozenset({"digits", "mnist", "fashion-mnist", "cifar10"})


def directory(data_dir: StrPath | None) -> Path:
    """Where files are looked for: ``data_dir``, else HOLDFAST_DATA, else ``~/.cache/holdfast``.

    Raises:
        InputError: if no folder can be there.
    """
    given = data_dir or os.environ.get("HOLDFAST_DATA")
    if given:
        check_path(Path(given))
    return Path(given) if given else Path.home() / ".cache" / "holdfast"


def refuse(data_dir: StrPath | None, name: str) -> None:
    """Raise if ``data_dir`` is given for data that are not looked for there.

    Raises:
        InputError: if it is.
    """
    if data_dir is not None:
        there = ", ".join(each for each in DATASETS if each not in ("digits", "folder"))
        raise InputError(
            f"{data_dir} is given for the files of named data sets (--data-dir), but {name} is "
            f"none that it is asked for; leave it out, or choose {there}."
        )
