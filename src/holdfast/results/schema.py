"""What stands in run.json and rows.csv, and what a stranger's must say to be read."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from holdfast.errors import DamagedFileError, LaterVersionError
from holdfast.files import fitted
from holdfast.results.columns import COLUMNS
from holdfast.results.forms import FORMS, About

#: What run.json records and how, at the most. 1, without a number, compared less of model and data;
#: 3 are certificates of more than the first class, which whoever knows 2 takes for such of it.
FORMAT = 3

ABOUT = "run.json"
ROWS = "rows.csv"

#: The name under which the rows of unattacked images stand.
CLEAN = "clean"

#: How tables name a classifier under noise of each family.
TITLES: Mapping[str, str] = {
    "gaussian": "noise",
    "laplace": "laplace noise",
    "first-layer": "noise behind the first layer",
    "sound-gaussian": "sound noise",
}

_MEND = "put its copy back, or repeat the run with another --out"


class Limits(NamedTuple):
    """What confidence limits are good for.

    Attributes:
        guaranteed: whether they hold with the stated confidence.
        of_votes: whether they are about the majority vote, and not about mean scores.
    """

    guaranteed: bool = True
    of_votes: bool = True


#: As most are.
PROVEN = Limits()

#: Intervals of images that each have a number of votes of their own.
OF_OWN_VOTES = frozenset({"sequential", "input-specific"})

#: Of runs whose cells do not say, by the name of the interval.
_LIMITS_BEFORE: Mapping[str, Limits] = {
    "clopper-pearson": PROVEN,
    "two-sample": PROVEN,
    "sequential": PROVEN,
    "hoeffding": Limits(of_votes=False),
    "sison-glaz": Limits(guaranteed=False),
}


def format_of(kind: str, settings: Mapping[str, Any]) -> int:
    """The lowest format that says what a run is, so that all versions that may read it do.

    Args:
        kind: the command that writes it.
        settings: its settings.
    """
    return FORMAT if kind == "certify" and settings.get("top") else 2


def check_about(path: Path, content: Mapping[str, Any]) -> None:
    """Check what the run.json of a run says; of a finished one, all that is read of it.

    Raises:
        DamagedFileError: naming the first place that is not what it must be.
        LaterVersionError: if a later version wrote it, whose numbers may mean something else.
    """
    file = path / ABOUT
    about = fitted(content, About, file, _MEND)
    if about.get("format", 1) > FORMAT:
        by = about.get("versions", {}).get("holdfast", "a later version")
        raise LaterVersionError(
            f"{file} was written by Holdfast {by} in format {about['format']}, and this version "
            f"reads up to {FORMAT}; read it by that version, or repeat the run with another --out."
        )
    if not about["complete"] or about["kind"] not in FORMS:
        return
    fitted(content, FORMS[about["kind"]], file, _MEND)
    if about["kind"] == "evaluate":
        named = [attack["name"] for attack in content["settings"]["attacks"]]
        if named != [cell["attack"] for cell in content["cells"]]:
            raise _damaged(file, "settings.attacks and cells do not name the same attacks")


def limits_of(about: Mapping[str, Any], bound: str, interval: str) -> Limits | None:
    """What the limits of a certification are good for; None if that is not known."""
    for cell in about["cells"]:
        mine = (cell.get("bound"), cell.get("interval")) == (bound, interval)
        if mine and {"guaranteed", "of_votes"} <= cell.keys():
            return Limits(cell["guaranteed"], cell["of_votes"])
    return _LIMITS_BEFORE.get(interval)


def check_rows(path: Path, about: Mapping[str, Any], rows: pd.DataFrame) -> None:
    """Check the rows of a finished run: one row for each cell and image.

    Raises:
        DamagedFileError: naming the first column that is not what it must be.
    """
    file, kind = path / ROWS, about["kind"]
    for key, rule in COLUMNS.get(kind, {}).items():
        name = key.removesuffix("?")
        if name not in rows and key == name:
            raise _damaged(file, f"the column {name} is missing")
        if name in rows and not rule.holds(rows[name]):
            raise _damaged(file, f"the column {name} must hold {rule.words}, and does not")
    if kind == "evaluate":
        _check_images(file, rows, ["attack", "norm", "eps"], about["settings"]["images"])
        _check_attacked(file, about, rows)
    if kind == "certify":
        _check_images(file, rows, ["bound", "interval"], about["settings"]["images"])
        _check_certified(path, about, rows)


def _check_images(file: Path, rows: pd.DataFrame, cell: list[str], images: int) -> None:
    for names, part in rows.groupby(cell, sort=False):
        if len(part) != images or not np.array_equal(np.sort(part["index"]), np.arange(images)):
            of = " ".join(str(name) for name in names)
            raise _damaged(file, f"{of} must have one row for each of the {images} images")


def _check_attacked(file: Path, about: Mapping[str, Any], rows: pd.DataFrame) -> None:
    expected = {
        (one["attack"], one["norm"], math.inf if one["eps"] is None else one["eps"])
        for one in about["cells"]
    }
    attacked = rows[rows["attack"] != CLEAN]
    found = set(attacked[["attack", "norm", "eps"]].itertuples(index=False, name=None))
    if found != expected or len(expected) != len(about["cells"]):
        raise _damaged(file, f"its attacks and sizes are not the cells of {ABOUT}")
    if len(attacked) == len(rows):
        raise _damaged(file, "the rows of the unattacked images are missing")
    if "by" not in rows and any(one.get("broken_by") for one in about["cells"]):
        raise _damaged(file, "the column by, of what each part of a suite broke, is missing")
    if "far" not in rows and any("pilot" in one for one in about["settings"]["attacks"]):
        raise _damaged(file, "the column far, of which images parts may be spared, is missing")


def _check_certified(path: Path, about: Mapping[str, Any], rows: pd.DataFrame) -> None:
    file = path / ROWS
    if not len(rows):
        raise _damaged(file, "there are no certificates")
    if not OF_OWN_VOTES.isdisjoint(rows["interval"]) and "draws" not in rows:
        raise _damaged(file, "the column draws is missing")
    top = about["settings"].get("top") or 1
    if top > 1 and "top" not in rows:
        raise _damaged(file, "the column top is missing")
    if "top" in rows and (rows["top"] != top).any():
        raise _damaged(file, f"the column top is not the {top} of {ABOUT}")
    if any(cell.get("top", 1) != top for cell in about["cells"]):
        raise _damaged(path / ABOUT, "settings and cells are not of the same top")
    for bound, interval in rows[["bound", "interval"]].drop_duplicates().to_numpy():
        if limits_of(about, bound, interval) is None:
            raise _damaged(file, f"{bound} {interval} is in no cell of {ABOUT}")


def _damaged(file: Path, what: str) -> DamagedFileError:
    return DamagedFileError(f"{file} is not what Holdfast writes: {what}; {_MEND}.")
