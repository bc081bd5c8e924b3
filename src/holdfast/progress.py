"""Progress on standard error: a bar in a terminal, a line now and then in a log file."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from holdfast.types import Step

__all__ = ["Progress", "Share", "showing", "silent"]

#: Between two lines of a log, at first; they grow rarer as the task goes on, up to a minute.
_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_LOOKS = 0.2  # at an attack, for a bar
_SECONDS_BEFORE_GUESSING = 2.0  # how much time is left
_WIDTH = 79  # of a line in a log


class Progress:
    """One task at a time, made of so many pieces. Does nothing until shown by `showing`.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.progress import Progress
        >>> class Tasks(Progress):
        ...     def start(self, what, total, done=0):
        ...         print(what, total)
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.1))}, progress=Tasks())
        evaluate 8
    """

    def start(self, what: str, total: int, done: int = 0) -> None:
        """Begin a task of ``total`` pieces, of which ``done`` were done before."""

    def advance(self, pieces: int = 1, note: str = "") -> None:
        """``pieces`` more are done; ``note`` says how it goes."""

    def turn_to(self, part: str) -> None:
        """The part of the task that the next pieces are, such as an attack at one of its sizes."""

    def watch(self, step: Step) -> None:
        """How an attack on the next pieces goes: a callback for it, which seldom looks."""

    def tell(self, note: Callable[[], str]) -> None:
        """How other work on the next pieces goes: ``note`` says it, and is seldom asked."""

    def measure(self, share: Callable[[], float | None]) -> None:
        """How much of the task's work is done, from 0 to 1, where its pieces tell that badly.

        It is seldom asked, and may answer None if it does not know.
        """

    def say(self, text: str) -> None:
        """Tell something that stays."""

    def announce(self, text: str) -> None:
        """Tell it when the next task begins; never, if nothing is left to do."""


@dataclass
class Share:
    """How much of a task's work is done, with what is under way; see `Progress.measure`.

    Attributes:
        total: of the work, in any unit.
        finished: so much of it is.
        under_way: done of what is not finished.

    Example:
        >>> from holdfast.progress import Share
        >>> share = Share(total=8.0, finished=2.0)
        >>> share.under_way = 4.0
        >>> share()
        0.75
    """

    total: float
    finished: float = 0.0
    under_way: float = 0.0

    def __call__(self) -> float | None:
        """From 0 to 1; None where there is nothing to do."""
        return (self.finished + self.under_way) / self.total if self.total else None


class _Shown(Progress):
    """What a bar and lines share: when to look, what to say of a step, and what time is left."""

    def __init__(self) -> None:
        self._announced: list[str] = []
        self._part = ""
        self._total = self._done = self._first = 0
        self._share: Callable[[], float | None] | None = None
        self._looked = self._began = time.monotonic()

    def start(self, what: str, total: int, done: int = 0) -> None:
        for text in self._announced:
            self.say(text)
        self._announced, self._part, self._share = [], "", None
        self._total, self._done, self._first = total, done, done
        self._began = time.monotonic()

    def advance(self, pieces: int = 1, note: str = "") -> None:
        self._done += pieces

    def measure(self, share: Callable[[], float | None]) -> None:
        self._share = share

    def turn_to(self, part: str) -> None:
        self._part = part

    def announce(self, text: str) -> None:
        self._announced.append(text)

    def watch(self, step: Step) -> None:
        def note() -> str:
            # A sum over the batch waits for a GPU, which is why it is not taken at every step.
            robust = int((~step.reached).sum())
            stage = f" of {step.stage}" if step.stage else ""
            return f"{robust} images robust, step {step.step + 1}{stage}"

        self.tell(note)

    def tell(self, note: Callable[[], str]) -> None:
        if self._due():
            self._tell(note())

    def _due(self) -> bool:
        """Whether so much time has passed that it is worth looking again."""
        now = time.monotonic()
        if now - self._looked < self._seconds():
            return False
        self._looked = now
        return True

    def _left(self) -> str:
        """About how much time is left, by what the work that is done took; "" if unknown."""
        passed = time.monotonic() - self._began
        if passed < _SECONDS_BEFORE_GUESSING:
            return ""
        share = None if self._share is None else self._share()
        if share is None and self._total > self._first:
            share = (self._done - self._first) / (self._total - self._first)
        if not share or share >= 1:
            return ""
        return f"~{_duration(passed * (1 - share) / share)} left"

    def _seconds(self) -> float:
        """Between two looks."""
        raise AssertionError  # abstract

    def _tell(self, note: str) -> None:
        """Show how it goes."""
        raise AssertionError  # abstract


class _Bar(_Shown):
    def __init__(self, bars: "_Bars") -> None:
        super().__init__()
        self._bars = bars

    def start(self, what: str, total: int, done: int = 0) -> None:
        super().start(what, total, done)
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        self._bars.add_task(what, total=total, completed=done, note="")

    def advance(self, pieces: int = 1, note: str = "") -> None:
        super().advance(pieces, note)
        self._bars.update(self._bars.task_ids[-1], advance=pieces, note=self._with_left(note))

    def say(self, text: str) -> None:
        self._bars.console.print(text, highlight=False, markup=False)

    def _seconds(self) -> float:
        return _SECONDS_BETWEEN_LOOKS

    def _tell(self, note: str) -> None:
        if self._bars.task_ids:
            told = f"{self._part}: {note}" if self._part else note
            self._bars.update(self._bars.task_ids[-1], note=self._with_left(told))

    def _with_left(self, note: str) -> str:
        return "; ".join(text for text in (self._left(), note) if text)


class _Bars(Bars):
    """The bar, and below it the note in a line of its own, cut off where the terminal ends."""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        for task in self.tasks:
            yield Text(f"  {task.fields['note']}", no_wrap=True, overflow="ellipsis")


class _Lines(_Shown):
    def __init__(self) -> None:
        super().__init__()
        self._what = ""

    def start(self, what: str, total: int, done: int = 0) -> None:
        super().start(what, total, done)
        self._what = what

    def advance(self, pieces: int = 1, note: str = "") -> None:
        super().advance(pieces, note)
        if self._due():
            self._tell(note)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def _seconds(self) -> float:
        return min(max(_SECONDS_BETWEEN_LINES, (time.monotonic() - self._began) / 10), 60)

    def _tell(self, note: str) -> None:
        told = [f"{self._done}/{self._total}", _duration(time.monotonic() - self._began)]
        told += [left] if (left := self._left()) else []
        text = f": {', '.join(told)}" + (f"; {note}" if note else "")
        what = self._part or self._what
        self.say(_clipped(_clipped(what, max(_WIDTH - len(text), 20)) + text, _WIDTH))


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _clipped(text: str, width: int) -> str:
    """At most ``width`` letters of a text."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


silent = Progress()


@contextmanager
def showing(wanted: bool = True) -> Iterator[Progress]:
    """Progress for the time of the block, on standard error; silent if not ``wanted``.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.progress import showing
        >>> with showing() as progress:
        ...     result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.1))}, progress=progress)
    """
    console = Console(stderr=True)
    if not wanted:
        yield silent
    # A bar moves the cursor, which a dumb terminal cannot, and has no place where the width is 0.
    elif not console.is_terminal or console.is_dumb_terminal or not console.width:
        yield _Lines()
    else:
        with _bars(console) as bars:
            yield _Bar(bars)


def _bars(console: Console) -> _Bars:
    """In 80 columns everything has its place, a long name cut off."""
    name = Column(no_wrap=True, overflow="ellipsis", max_width=max(console.width - 44, 12))
    columns = (
        TextColumn("{task.description}", markup=False, table_column=name),
        BarColumn(bar_width=min(console.width // 8, 40)),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return _Bars(*columns, console=console, transient=True)
