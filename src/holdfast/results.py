"""The run folder: where every computation ends, in per-example rows on disk.

    run.json        kind, settings as typed, versions, hardware, git revision, timing, results
    rows.csv        one row for each (cell, example), once the run is complete
    rows/           until then: one file for each finished chunk, renamed into place when whole
    images/         clean and adversarial images of the first examples, for the gallery
    lock.json       while it is written to: by which process

A killed run resumes at the missing chunk. A finished run is never changed, and a folder that holds
a run with other settings, or that another process writes to, is refused. A cell is one attack at
one size, or one certificate.
"""

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from holdfast import lock
from holdfast.errors import (
    DamagedFileError,
    DiskFullError,
    HoldfastError,
    InputError,
    MissingFileError,
    OutputError,
    no_room,
)
from holdfast.files import (
    check_regular,
    create_json,
    read_json,
    read_tensors,
    write_json,
    write_table,
    write_tensors,
    write_text,
)
from holdfast.group import Group, first
from holdfast.lock import Owner
from holdfast.progress import Progress, silent
from holdfast.revision import git_revision

ABOUT, ROWS, _CHUNKS, IMAGES = "run.json", "rows.csv", "rows", "images"

#: The name under which the rows of unattacked images stand.
CLEAN = "clean"

#: What run.json records and how; 1, without a number, compared less of model and data.
FORMAT = 2

#: What identifies model and data, by the end of the setting's name: what it means if it differs,
#: and what was compared if it does not.
_IDENTITY = {
    "data_fingerprint": ("other images or labels", "all images and labels"),
    "_fingerprint": ("a model with other weights", "weights"),
    "_answers": ("a model with these weights that answers otherwise", "answers to a few images"),
    "_source": (
        "a model with these weights whose classes had another source",
        "source of the model's classes",
    ),
}

#: Columns of names, in which neither "NA" is a missing value nor "1" a number.
_TEXT = ("attack", "norm", "by", "bound", "interval")


class Part(NamedTuple):
    """A chunk of one cell, as it is computed.

    Attributes:
        cell: its number.
        rows: one for each example of the chunk.
        images: what to keep of them beside the rows.
        skipped: what could not run, and why: name -> reason.
    """

    cell: int
    rows: pd.DataFrame
    images: Mapping[str, Tensor] = {}
    skipped: Mapping[str, str] = {}


class Run:
    """A folder that one run writes to, by `resume_or`.

    Args:
        path: the folder; made by `writing`, not before.
        kind: the command that writes it, such as "train" or "evaluate".
        settings: all that determines the results, as JSON can hold it. Measured numbers, which
            rounding moves, are ``{"values": [...], "within": tolerance}``.

    Raises:
        OutputError: if the folder cannot be written or holds something else.
    """

    def __init__(self, path: Path, kind: str, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._kind = kind
        self._settings = dict(settings)
        self._owner: Owner | None = None
        check_writable(path)
        if (path / ABOUT).exists():
            self._check_same(read_json(path / ABOUT))
        elif path.is_dir() and any(map(_is_foreign, path.iterdir())):
            raise OutputError(
                f"{path} is not empty and holds no run of Holdfast; give a new folder by --out."
            )

    @classmethod
    def resume_or(
        cls,
        path: Path,
        kind: str,
        record: Mapping[str, Any],
        work: Callable[["Run"], None],
        results: Callable[["Run", pd.DataFrame], Mapping[str, Any]],
        *,
        checkpoint: str | None = None,
        group: Group | None = None,
        progress: Progress = silent,
    ) -> None:
        """Finish the run of a folder: begin it, take it up where it stopped, or find it finished.

        The one way in which anything is run: the folder is checked and locked, what is missing is
        worked out, rows are merged, the results are recorded, and what only the work needed is
        removed.

        Args:
            path: the folder.
            kind: see `Run`.
            record: see `Run`, its settings.
            work: writes what is missing, as `fill` does; done by every process.
            results: makes of the merged rows, which are empty if the work wrote none, what run.json
                is to say of them; what it writes itself is whole once it returns. Done by the first
                process.
            checkpoint: name of the file by which work that is not in chunks goes on; removed once
                the run is finished.
            group: the processes that do the work together; each calls this.
            progress: told if there is nothing to do.

        Raises:
            OutputError: if the folder cannot be written, holds something else, or is in use.
        """
        with ExitStack() as stack:  # held by the first process, for all

            def begin() -> str | None:
                run = cls(path, kind, record)
                unfinished = stack.enter_context(run.writing(checkpoint or "**/*.csv"))
                if unfinished:
                    return None
                if checkpoint is not None:  # of a process that was killed after its last step
                    (path / checkpoint).unlink(missing_ok=True)
                return run.told_complete()

            told = first(group, begin)
            if told is not None:
                if group is None or group.is_global_zero:
                    progress.say(told)
                return
            run = cls(path, kind, record).join()
            work(run)
            if group is not None:
                group.barrier()

            def finish() -> None:
                rows = run.merge() if run.has_rows else pd.DataFrame()
                run.check()
                run.finish(**results(run, rows))
                run.clear()
                if checkpoint is not None:
                    (path / checkpoint).unlink(missing_ok=True)

            first(group, finish)

    def fill(
        self,
        chunks: Mapping[int, Tensor],
        cells: Sequence[str],
        work: Callable[[int, Tensor, Sequence[int]], Iterable[Part]],
        what: str,
        progress: Progress = silent,
    ) -> None:
        """Write every chunk of every cell that is missing, each as soon as it is there.

        Args:
            chunks: by number, the examples of each that this process is to do.
            cells: what to call each cell, for the progress.
            work: given a chunk's number, its examples and the cells that it lacks, computes these
                one after the other.
            what: the work, for the progress.
            progress: told about every chunk of every cell.
        """
        progress.start(what, len(cells) * sum(map(len, chunks.values())))
        for number, index in chunks.items():
            missing = [cell for cell in range(len(cells)) if not self.has(cell, number)]
            progress.advance((len(cells) - len(missing)) * len(index))
            began = time.monotonic()
            for part in work(number, index, missing) if missing else ():
                if part.images:
                    self.write_images(part.cell, number, part.images)
                seconds = time.monotonic() - began
                self.write(part.cell, number, part.rows, seconds, part.skipped)
                progress.advance(len(index), cells[part.cell] if len(cells) > 1 else "")
                began = time.monotonic()

    @property
    def has_rows(self) -> bool:
        """Whether any chunk was written."""
        return (self.path / ROWS).exists() or (self.path / _CHUNKS).exists()

    @property
    def complete(self) -> bool:
        """Whether the run was finished, now or by an earlier process."""
        return (self.path / ABOUT).exists() and bool(read_about(self.path)["complete"])

    @contextmanager
    def writing(self, work: str = "**/*.csv") -> Iterator[bool]:
        """Hold the folder for the block, if there is work to do; say whether there is.

        The folder is made, or the run that was interrupted there taken up. Whatever writes to it
        looks first whether it is still this run's. If the block fails by what the user gave before
        any part is finished, the folder is removed again, or emptied if it was there; otherwise the
        run can be taken up.

        Args:
            work: pattern of the files that are worth keeping, as of `Path.glob`.

        Raises:
            OutputError: if another process holds it, or has begun a run with other settings.
        """
        if self.complete:
            self.clear()  # of a process that was killed between its last two steps
            yield False
            return
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with lock.held(self.path) as self._owner:
                begun = self._begin()
                try:
                    yield not self.complete  # another may have held the lock until just now
                except HoldfastError:
                    ours = lock.owner(self.path) == self._owner
                    if begun and ours and not any(self.path.glob(work)):
                        self._empty()
                    raise
        finally:
            with suppress(OSError):  # as soon as one of them is not empty
                for folder in made:
                    folder.rmdir()

    def _empty(self) -> None:
        """Remove everything but the lock, which goes last."""
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != lock.LOCK:
                entry.unlink()

    def join(self) -> "Run":
        """Write to the folder as one of several processes, of which the first is `writing`."""
        self._owner = lock.owner(self.path)
        self.check()
        return self

    def check(self) -> None:
        """See, before a write, that the folder is still this run's.

        Raises:
            OutputError: if it is not: somebody took the lock away, or changed the settings.
        """
        if self._owner is None or lock.owner(self.path) != self._owner:
            raise OutputError(
                f"{self.path} is no longer held by this run; what was written so far is kept: see "
                "that no other process writes there, and run the same command again."
            )
        self._check_same(read_about(self.path))

    def _begin(self) -> bool:
        """Write run.json if it is not there; say whether it was not."""
        about = {"format": FORMAT, "kind": self._kind, "complete": False}
        about |= {"settings": self._settings, "started": _now(), **environment()}
        begun = not (self.path / ABOUT).exists()
        if begun:
            # Where the lock should fail, of two processes still only one makes the file.
            with suppress(FileExistsError):
                create_json(self.path / ABOUT, about)
        self.check()
        return begun

    def told_complete(self) -> str:
        """That there is nothing to do, and what was compared to know it."""
        given = [key for key, value in self._settings.items() if value is not None]
        compared = dict.fromkeys(told[1] for key in given if (told := _identity(key)))
        return (
            f"{self.path} is complete; nothing was run (compared: {', '.join(compared)}, and all "
            "other settings)."
        )

    def finish(self, **results: Any) -> None:
        """Record the results, as JSON can hold them, and that the run is complete."""
        self.check()
        rows = self.path / ROWS
        if rows.exists():
            results["rows_sha256"] = _digest(rows.read_bytes())
        about = {**read_about(self.path), **results, "complete": True, "finished": _now()}
        write_json(self.path / ABOUT, about)

    def has(self, cell: int, chunk: int) -> bool:
        """Whether a chunk of a cell has been written and is what was written.

        One that is damaged is told of and taken for missing, so that only it is computed again.
        """
        path = self._chunk(cell, chunk)
        if (self.path / ROWS).exists() or not path.exists():
            return (self.path / ROWS).exists()
        try:
            check_regular(path)
            whole = read_json(path.with_suffix(".json"))["sha256"] == _digest(path.read_bytes())
        except (MissingFileError, DamagedFileError, KeyError):
            whole = False
        if not whole:
            warnings.warn(
                f"{path} is damaged: chunk {chunk} of cell {cell} is computed again, and the rest "
                "of the run is kept.",
                stacklevel=2,
            )
        return whole

    def write(
        self,
        cell: int,
        chunk: int,
        rows: pd.DataFrame,
        seconds: float,
        skipped: Mapping[str, str] | None = None,
    ) -> None:
        """Write one finished chunk, how long it took, and what tells whether it is whole.

        With ``skipped``, also what could not run there, and why: name -> reason.

        The time has a file of its own, so that equal results are equal files.
        """
        self.check()
        path = self._chunk(cell, chunk)
        path.parent.mkdir(exist_ok=True)
        content = rows.to_csv(index=False)
        about = {"seconds": seconds, "sha256": _digest(content.encode())}
        write_json(path.with_suffix(".json"), {**about, "skipped": dict(skipped or {})})
        write_text(path, content)

    def read(self, cell: int, chunk: int) -> pd.DataFrame:
        """Read one finished chunk."""
        return _read_csv(self._chunk(cell, chunk))

    def write_images(self, cell: int, chunk: int, images: Mapping[str, Tensor]) -> None:
        """Write images of a chunk, before its rows."""
        self.check()
        path = self.path / IMAGES / f"{cell:04d}.{chunk:05d}.safetensors"
        path.parent.mkdir(exist_ok=True)
        write_tensors(path, images, {"cell": cell})

    def seconds(self, cell: int) -> float:
        """How long the chunks of a cell took, in all processes that worked on it."""
        return sum(float(about["seconds"]) for about in self._abouts(cell))

    def skipped(self, cell: int) -> dict[str, str]:
        """What could not run in some chunk of a cell, and why: name -> reason."""
        parts = (about.get("skipped", {}) for about in self._abouts(cell))
        return {name: reason for part in parts for name, reason in part.items()}

    def _abouts(self, cell: int) -> list[dict[str, Any]]:
        return [read_json(p) for p in sorted((self.path / _CHUNKS).glob(f"{cell:04d}.*.json"))]

    def merge(self) -> pd.DataFrame:
        """Join all chunks into rows.csv, in the order of cells and examples."""
        self.check()
        rows = read_rows(self.path)
        write_table(self.path / ROWS, rows)
        return rows

    def clear(self) -> None:
        """Remove the chunks, which rows.csv has made redundant."""
        shutil.rmtree(self.path / _CHUNKS, ignore_errors=True)

    def _chunk(self, cell: int, chunk: int) -> Path:
        return self.path / _CHUNKS / f"{cell:04d}.{chunk:05d}.csv"

    def _check_same(self, about: Mapping[str, Any]) -> None:
        if about.get("kind") != self._kind:
            raise OutputError(
                f"{self.path} holds a run of holdfast {about.get('kind')}; give another --out."
            )
        if about.get("format") != FORMAT:
            raise OutputError(
                f"{self.path} was written by a version of Holdfast that compared less of model and "
                "data, so whether they are the same cannot be told: holdfast report still reads "
                "it, but to run this command give another --out."
            )
        before = about.get("settings", {})
        for key in dict.fromkeys([*before, *self._settings]):
            was, now = before.get(key), self._settings.get(key)
            if _same(was, now):
                continue
            holder = lock.owner(self.path)
            if holder is not None and holder != self._owner and not holder.dead:
                raise lock.in_use(self.path, holder)
            identity = _identity(key)
            other = f"a run with {key} = {was!r}, and now it is {now!r}"
            if identity is not None:
                other = f"a run of {identity[0]} ({key} is another)"
            raise OutputError(
                f"{self.path} holds {other}; a run is never overwritten, give another --out."
            )


def _identity(key: str) -> tuple[str, str] | None:
    return next((told for name, told in _IDENTITY.items() if key.endswith(name)), None)


def _same(was: Any, now: Any) -> bool:
    """Whether two settings are equal; measured numbers may differ by what rounding does."""
    if isinstance(was, Mapping) and isinstance(now, Mapping) and "within" in now:
        pairs = zip(was.get("values", []), now["values"], strict=False)
        near = all(abs(old - new) <= now["within"] for old, new in pairs)
        return near and len(was.get("values", [])) == len(now["values"])
    if isinstance(was, list) and isinstance(now, list):
        return len(was) == len(now) and all(map(_same, was, now))
    return bool(was == now)


def _is_foreign(entry: Path) -> bool:
    """Whether something in a folder without run.json is none that a killed process leaves."""
    return entry.suffix != ".tmp" and entry.name != lock.LOCK


@contextmanager
def kept_or_temporary(out: str | Path | None) -> Iterator[Path]:
    """The folder ``out`` or, if there is none, one for the time of the block.

    Raises:
        InputError: if ``out`` is the empty name.
    """
    if out is not None:
        if out == "":
            raise InputError("out is empty, but must name a folder; leave it out to keep nothing.")
        yield Path(out)
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary) / "run"


def read_about(path: Path) -> dict[str, Any]:
    """What run.json says.

    Raises:
        MissingFileError: if the folder holds no run.
        DamagedFileError: if run.json cannot be read, or is not what a run writes.
    """
    if not (path / ABOUT).exists():
        raise MissingFileError(f"{path} holds no run of Holdfast: there is no {ABOUT} in it.")
    about = read_json(path / ABOUT)
    for name, kind, words in (
        ("kind", str, "a text"),
        ("complete", bool, "true or false"),
        ("settings", dict, "an object"),
    ):
        if not isinstance(about.get(name), kind):
            raise DamagedFileError(
                f"{path / ABOUT} is not what a run writes: {name} must be {words}; put its copy "
                "back, or repeat the run with another --out."
            )
    try:  # what was read must be fit to be written again: no NaN, no half of a character
        json.dumps(about, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path / ABOUT} is damaged or no JSON file: {error}.") from error
    return about


def read_rows(path: Path) -> pd.DataFrame:
    """All rows that a run has written so far, every number as it was.

    Raises:
        MissingFileError: if there are none.
        DamagedFileError: if a file cannot be read, or is not what a finished run wrote.
    """
    whole = path / ROWS
    check_regular(whole)
    written = read_about(path).get("rows_sha256") if whole.exists() else None
    if written is not None and _digest(whole.read_bytes()) != written:
        raise DamagedFileError(
            f"{whole} is not what the run wrote: put its copy back, or repeat the run with another "
            "--out."
        )
    files = [whole] if whole.exists() else sorted((path / _CHUNKS).glob("*.csv"))
    if not files:
        raise MissingFileError(f"{path} holds no rows.")
    return pd.concat([_read_csv(file) for file in files], ignore_index=True)


def read_images(path: Path, cell: int) -> dict[str, Tensor]:
    """The images kept of a cell: index, x, x_adv and more; empty if none were.

    Raises:
        DamagedFileError: if a file cannot be read, or the files of a cell do not go together.
    """
    parts = [read_tensors(file)[0] for file in sorted((path / IMAGES).glob(f"{cell:04d}.*"))]
    try:
        names = parts[0] if parts else {}
        return {name: torch.cat([part[name] for part in parts]) for name in names}
    except (KeyError, RuntimeError) as error:
        raise DamagedFileError(
            f"the images of cell {cell} in {path / IMAGES} do not go together ({error}); put their "
            "copies back, or take the folder away."
        ) from error


def _read_csv(path: Path) -> pd.DataFrame:
    check_regular(path)
    try:
        return pd.read_csv(path, converters=dict.fromkeys(_TEXT, str))
    except (OSError, ValueError) as error:
        raise DamagedFileError(f"{path} is damaged: {error}.") from error


def environment() -> dict[str, Any]:
    """Versions, hardware and git revision, for the record."""
    packages = ["holdfast", "torch", "torchvision", "lightning-fabric", "numpy", "scipy", "pandas"]
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in packages},
        },
        "hardware": {
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "accelerator": accelerator,
        },
        "git": git_revision(Path.cwd()),
    }


def check_writable(path: Path) -> None:
    """Find out, leaving nothing behind, whether a folder can be made and written at ``path``."""
    existing = path
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(
            f"{existing} is a file, so {path} cannot be a folder; give another --out."
        )
    try:
        # Permissions alone do not tell: a file system may be read-only, full, or no real one.
        with tempfile.TemporaryDirectory(dir=existing, suffix=".tmp"):
            pass
    except OSError as error:
        if no_room(error):
            raise DiskFullError(
                f"there is no room in {existing} ({error.strerror}); make some and run the same "
                "command again."
            ) from error
        raise OutputError(
            f"{existing} cannot be written ({error.strerror}); give another folder by --out."
        ) from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
