"""One way to run: what is missing in a run folder is worked out, and the results recorded."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from holdfast import lock
from holdfast.environment import environment
from holdfast.errors import HoldfastError, OutputError
from holdfast.files import (
    StrPath,
    as_path,
    check_writable,
    clear_unfinished,
    create_json,
    write_json,
    write_table,
)
from holdfast.group import Group, first
from holdfast.lock import Owner
from holdfast.progress import Progress, silent
from holdfast.results.chunks import Chunks
from holdfast.results.folder import clear_work
from holdfast.results.part import Engine, Missing, Work, here
from holdfast.results.reading import (
    ABOUT,
    CHUNKS,
    IMAGES,
    ROWS,
    check_finished,
    digest,
    digest_of,
    read_about,
    read_rows,
)
from holdfast.results.sameness import check_same, compared
from holdfast.results.schema import format_of

__all__ = ["Run"]


class Run:
    """A folder that one run writes to, by `resume_or`.

    Args:
        path: the folder; made by `writing`, not before.
        kind: the command that writes it, such as "train" or "evaluate".
        settings: all that determines the results, as JSON can hold it. Measured numbers, which
            rounding moves, are ``{"values": [...], "within": tolerance}``.

    Attributes:
        chunks: what is finished of the work.

    Raises:
        OutputError: if the folder cannot be written or holds something else.

    Example:
        >>> from pathlib import Path
        >>> import pandas as pd
        >>> from holdfast.results import Part, Run, read_about
        >>> def compute(missing):
        ...     yield Part(0, pd.DataFrame({"square": (missing.index**2).numpy()}))
        >>> def work(run):
        ...     run.fill({0: torch.arange(4)}, ["squares"], compute, "square")
        >>> def results(run, rows):
        ...     return {"sum": int(rows["square"].sum())}
        >>> Run.resume_or(Path("run"), "square", {"numbers": 4}, work, results)
        >>> read_about("run")["sum"]
        14
    """

    def __init__(self, path: Path, kind: str, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._kind = kind
        self._settings = dict(settings)
        self.chunks = Chunks(path, self.check)
        self._owner: Owner | None = None
        check_writable(path)
        if (path / ABOUT).exists():
            self._check_same(read_about(path))
        elif path.is_dir() and not all(map(lock.is_passing, path.iterdir())):
            raise OutputError(
                f"{path} is not empty and holds no run of Holdfast; give a new folder by --out."
            )

    @classmethod
    def resume_or(
        cls,
        path: StrPath,
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
        path = as_path(path)
        with ExitStack() as stack:  # held by the first process, for all

            def begin() -> str | None:
                run = cls(path, kind, record)
                unfinished = stack.enter_context(run.writing(checkpoint or "**/*.csv"))
                if unfinished:
                    return None
                check_finished(path)
                clear_work(path, checkpoint)  # of a process that was killed after its last step
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
                clear_work(path, checkpoint)

            first(group, finish)

    def fill(
        self,
        chunks: Mapping[int, Tensor],
        cells: Sequence[str],
        work: Work,
        what: str,
        progress: Progress = silent,
        engine: Engine = here,
        *,
        before: int = 0,
        after: int = 0,
    ) -> None:
        """Write every chunk of every cell that is missing, each as soon as it is there.

        Args:
            chunks: by number, the examples of each that this process is to do.
            cells: what to call each cell, for the progress.
            work: computes what a chunk lacks.
            what: the work, for the progress.
            progress: told about every chunk of every cell.
            engine: who computes; what comes is written here, in the order in which it comes.
            before: examples of other chunks that were written before, for the progress.
            after: examples of others that are written after, for the progress.
        """
        left = {
            number: [cell for cell in range(len(cells)) if not self.chunks.has(cell, number)]
            for number in chunks
        }
        total = len(cells) * (before + sum(map(len, chunks.values())) + after)
        to_do = sum(len(left[number]) * len(index) for number, index in chunks.items())
        to_do += len(cells) * after
        progress.start(what, total, total - to_do)  # the time that is left goes by what is done now
        for number, part, seconds in engine(work, self._missing(chunks, left)):
            if part.images:
                self.chunks.write_images(part.cell, number, part.images)
            self.chunks.write(part.cell, number, part.rows, seconds, part.skipped, part.noted)
            progress.advance(len(chunks[number]), cells[part.cell] if len(cells) > 1 else "")

    def images_left(self, chunks: Mapping[int, Tensor], cells: Sequence[int]) -> int:
        """How many examples some of these cells lack."""
        return sum(
            len(index)
            for number, index in chunks.items()
            if not all(self.chunks.has(cell, number) for cell in cells)
        )

    def _missing(
        self, chunks: Mapping[int, Tensor], left: Mapping[int, Sequence[int]]
    ) -> Iterator[Missing]:
        for number, cells in left.items():
            if cells:
                first = None if 0 in cells else self.chunks.read(0, number)
                yield Missing(number, chunks[number], cells, first)

    @property
    def has_rows(self) -> bool:
        """Whether any chunk was written."""
        return (self.path / ROWS).exists() or self.chunks.any

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
            yield False
            return
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with lock.held(self.path) as self._owner:
                for folder in (self.path, self.path / CHUNKS, self.path / IMAGES):
                    clear_unfinished(folder)
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
        number = format_of(self._kind, self._settings)
        about = {"format": number, "kind": self._kind, "complete": False}
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
        said = (
            f"{self.path} is complete; nothing was run (compared: "
            f"{', '.join(compared(self._settings))}, and all other settings)."
        )
        audit = read_about(self.path).get("audit")
        if audit is None:
            return said
        limit = "no limit" if audit["limit"] is None else f"a limit of {audit['limit']:,}"
        return (
            f"{said} Its audit is that of then, {audit['passes']:,} passes with {limit}: "
            f"holdfast audit {self.path} makes another."
        )

    def finish(self, **results: Any) -> None:
        """Record the results, as JSON can hold them, and that the run is complete."""
        self.check()
        rows = self.path / ROWS
        if rows.exists():
            results["rows_sha256"] = digest(rows.read_bytes())
        about = {**read_about(self.path), **results, "complete": True, "finished": _now()}
        write_json(self.path / ABOUT, {**about, "sha256": digest_of(about)})

    def merge(self) -> pd.DataFrame:
        """Join all chunks into rows.csv, in the order of cells and examples."""
        self.check()
        rows = read_rows(self.path)
        write_table(self.path / ROWS, rows)
        return rows

    def _check_same(self, about: Mapping[str, Any]) -> None:
        check_same(self.path, about, self._kind, self._settings, self._owner)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
