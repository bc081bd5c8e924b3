"""Parts: each shows one thing on a line of its own, and a failure stops none that come after it."""

import gc
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch


class FailedError(Exception):
    """The device did not do what the CPU does."""


class SkippedError(Exception):
    """There is nothing to see here."""


@dataclass(frozen=True)
class Part:
    """One thing to be seen.

    Attributes:
        name: subject/what.
        work: looks, and says what it saw in a few words and numbers; raises `FailedError` or
            `SkippedError`, or whatever the code that it runs raises.
        quick: whether it takes no longer than a second on any machine.
    """

    name: str
    work: Callable[[], str]
    quick: bool = False


@dataclass(frozen=True)
class Line:
    """What became of a part."""

    name: str
    state: str  # ok, FAILED or skipped
    saw: str
    seconds: float
    peak: float | None  # MiB of the device's memory; None on a CPU, which does not tell

    HEAD = ("part", "", "seconds", "peak MiB", "seen")

    def cells(self) -> tuple[str, ...]:
        peak = "-" if self.peak is None else f"{self.peak:.1f}"
        return self.name, self.state, f"{self.seconds:.2f}", peak, self.saw

    def __str__(self) -> str:
        name, state, seconds, peak, saw = self.cells()
        return f"{name:<48} {state:<7} {seconds:>7} s {peak:>8} MiB  {saw}"


def run(parts: Iterable[Part], device: torch.device, tell: Callable[[Line], None]) -> list[Line]:
    """Run the parts one after the other, and tell of each as soon as it is done."""
    lines = []
    for part in parts:
        line = _run(part, device)
        tell(line)
        lines.append(line)
    return lines


def _run(part: Part, device: torch.device) -> Line:
    cuda = device.type == "cuda"
    if cuda:
        gc.collect()  # so that nothing of the part before stays on the device
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    try:
        state, saw = "ok", part.work()
        if cuda:
            torch.cuda.synchronize(device)
    except SkippedError as why:
        state, saw = "skipped", str(why)
    except FailedError as why:
        state, saw = "FAILED", str(why)
    except ModuleNotFoundError as error:
        ours = (error.name or "").partition(".")[0] in ("holdfast", "tests")
        state, saw = ("FAILED" if ours else "skipped"), str(error)
    except Exception as error:
        state, saw = "FAILED", f"{type(error).__name__}: {error} ({_where(error)})"
    seconds = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if cuda else None
    return Line(part.name, state, " ".join(saw.split()), seconds, peak)


def _where(error: Exception) -> str:
    """The deepest line of the checkout's own that the error passed."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "holdfast" in frame.filename or "tests" in frame.filename
    ]
    return f"{own[-1].filename.rpartition('/')[2]}:{own[-1].lineno}" if own else "outside"
