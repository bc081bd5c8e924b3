"""What of a run's folder goes into a bundle, and under which name."""

import os.path
import shutil
from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import InputError
from holdfast.lock import is_passing
from holdfast.results import ABOUT, IMAGES, ROWS, read_about, runs_in

#: Files of a bundle that stand beside its runs; no run may have their names.
REPORT, STATEMENT, ENVIRONMENT = "report", "test-report.md", "environment.json"

#: Runs of which the rows are what counts; those that made a network, whose weights stay where they
#: are; and those whose folder is all arrays and figures.
_OF_ROWS, _TRAINING, _DIAGNOSIS = ("evaluate", "certify"), ("train", "tune"), "diagnose"


def copied(runs: Sequence[Path], root: Path) -> list[str]:
    """Copy runs into the folder of a bundle.

    A folder of the working directory keeps its path, so that a run which names another by its
    folder, as an evaluation does a training, names it there too; one from elsewhere has its name.

    Returns:
        The folders in the bundle, in the order of ``runs``.

    Raises:
        InputError: if a run is not finished, or not of a kind that a bundle holds.
    """
    names: list[str] = []
    seen: set[Path] = set()
    for run in runs:
        if run.resolve() in seen:  # given twice, or with its study
            continue
        name = _free(_name(run), names)
        for one in dict.fromkeys([run, *runs_in(run)]):  # a study, and its runs
            _copy(one, root / name / one.relative_to(run))
            seen.add(one.resolve())
        names.append(name)
    return names


def _copy(run: Path, target: Path) -> None:
    about = read_about(run)
    kind = about["kind"]
    if not about["complete"]:
        raise InputError(
            f"{run} is not finished; run its holdfast {kind} command again to finish it."
        )
    if kind == _DIAGNOSIS:
        chosen = [path for path in run.rglob("*") if not is_passing(path)]
    elif kind in _OF_ROWS:
        chosen = [run / ABOUT, run / ROWS, *(run / IMAGES).glob("*.safetensors")]
    elif kind in (*_TRAINING, "study"):
        chosen = [run / ABOUT]
    else:
        raise InputError(
            f"{run} is a run of holdfast {kind}; a bundle holds evaluations, certifications, "
            "studies and diagnoses, and how their networks were trained."
        )
    for path in chosen:
        if path.is_symlink() or not path.is_file():
            if path.is_dir() and not path.is_symlink():
                continue
            raise InputError(
                f"{path} is not a file of the run itself, and a bundle holds nothing else; put a "
                "copy of what it leads to in its place."
            )
        copy = target / path.relative_to(run)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _name(run: Path) -> str:
    """The path from the working directory, or the last word of one that is elsewhere."""
    path = os.path.relpath(os.path.abspath(run))
    parts = Path(path).parts
    if parts[0] == ".." or path == "." or Path(path).is_absolute():
        parts = ("runs", Path(os.path.abspath(run)).name or "run")
    if parts[0] in (REPORT, STATEMENT, ENVIRONMENT, "manifest.json"):
        parts = ("runs", *parts)
    return "/".join(part.replace("\\", "-").replace(":", "-") for part in parts)


def _free(name: str, taken: Sequence[str]) -> str:
    """The name, or the first with a number behind it that no other is, holds or lies in."""
    number, free = 1, name
    while any(_meet(free, other) for other in taken):
        number += 1
        free = f"{name}-{number}"
    return free


def _meet(one: str, other: str) -> bool:
    """Whether one of two folders lies in the other; capitals are small letters to some systems."""
    first, second = f"{one}/".casefold(), f"{other}/".casefold()
    return first.startswith(second) or second.startswith(first)
