"""Contestants in turns: what of their costs a busy machine cannot change, the ratio of neighbours.

On a CPU a second is one in which the processor worked for this process, so that what else runs on
the machine counts less; on a GPU one of the clock, once the GPU has done all that it was given.
Memory is what one call adds at its peak to the bytes that torch has allocated: on a CPU the sum of
the profiler's record of every allocation and release, on a GPU the allocator's own count.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile

Work = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles; shown as ``1.04 [1.02, 1.07]``."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Of at least two values."""
        return cls(*statistics.quantiles(values, n=4, method="inclusive"))

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def seconds(work: Work, device: torch.device | str = "cpu") -> float:
    """What one call takes."""
    if torch.device(device).type == "cpu":
        began = time.process_time()
        work()
        return time.process_time() - began
    settle(device)
    began = time.perf_counter()
    work()
    settle(device)
    return time.perf_counter() - began


def settle(device: torch.device | str) -> None:
    """Wait until a GPU has done all that it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def in_turns(
    contestants: Mapping[str, Work],
    rounds: int,
    device: torch.device | str = "cpu",
    *,
    idle: int = 1,
) -> dict[str, list[float]]:
    """What each call takes in each round, after ``idle`` rounds that do not count."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(idle + rounds):
        for name, work in contestants.items():
            taken = seconds(work, device)
            if turn >= idle:
                times[name].append(taken)
    return times


def peak(work: Work, device: torch.device | str = "cpu") -> float:
    """MiB that one call adds at its peak; call it once before, for what it loads."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    events = record.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(accumulate(size for _, size in changes)) / 2**20


def ratio(ours: list[float], theirs: list[float]) -> Spread:
    """Of neighbours in the same round."""
    return Spread.of([mine / other for mine, other in zip(ours, theirs, strict=True)])
