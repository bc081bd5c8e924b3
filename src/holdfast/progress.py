"""Progress on standard error: a bar in a terminal, a line now and then in a log file."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """One task at a time, made of so many pieces. Does nothing until shown by `showing`."""

    def start(self, what: str, total: int, done: int = 0) -> None:
        """Begin a task of ``total`` pieces, of which ``done`` were done before."""

    def advance(self, pieces: int = 1, note: str = "") -> None:
        """``pieces`` more are done; ``note`` says how it goes."""

    def say(self, text: str) -> None:
        """Tell something that stays."""


class _Bar(Progress):
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: object = None

    def start(self, what: str, total: int, done: int = 0) -> None:
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        self._bars.add_task(what, total=total, completed=done, note="")

    def advance(self, pieces: int = 1, note: str = "") -> None:
        self._bars.update(self._bars.task_ids[-1], advance=pieces, note=note)

    def say(self, text: str) -> None:
        self._bars.console.print(text, highlight=False, markup=False)


class _Lines(Progress):
    def __init__(self) -> None:
        self._what, self._total, self._done = "", 0, 0
        self._began = self._told = time.monotonic()

    def start(self, what: str, total: int, done: int = 0) -> None:
        self._what, self._total, self._done, self._began = what, total, done, time.monotonic()

    def advance(self, pieces: int = 1, note: str = "") -> None:
        self._done += pieces
        now = time.monotonic()
        if now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            self.say(f"{self._what}: {self._done}/{self._total} {note} [{now - self._began:.0f} s]")

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


silent = Progress()


@contextmanager
def showing(wanted: bool = True) -> Iterator[Progress]:
    """Progress for the time of the block, on standard error; silent if not ``wanted``."""
    console = Console(stderr=True)
    if not wanted:
        yield silent
    elif not console.is_terminal:
        yield _Lines()
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Bars(*columns, console=console, transient=True) as bars:
            yield _Bar(bars)
