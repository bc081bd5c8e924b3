"""What the sections of speed_gpu.py share: what an item is, and how a GPU is watched."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from pairs import Work, seconds
from torch import Tensor, nn
from torch.profiler import DeviceType, ProfilerActivity, profile

from holdfast.models import Architecture

Rows = Iterator[Mapping[str, Any]]

#: What one measurement lasts at least, so that what it costs to wait for a GPU is lost in it.
_LEAST = 0.02


@dataclass(frozen=True)
class Bench:
    """Where and how everything is measured.

    Attributes:
        device: of the networks.
        rounds: in which contestants take turns.
        quick: tiny sizes.
        ceilings: operations a second that products of matrices reach, by precision.
    """

    device: str
    rounds: int
    quick: bool
    ceilings: dict[str, float] = field(default_factory=dict)

    def network(self, name: str, shape: tuple[int, int, int], classes: int = 10) -> nn.Module:
        """A network of fresh weights, which no gradient is asked of."""
        model = Architecture(name=name, shape=shape, classes=classes).build(0).eval()
        return model.to(self.device).requires_grad_(False)

    def images(self, count: int, shape: tuple[int, ...]) -> Tensor:
        """Random images."""
        x = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))
        return x.to(self.device)


@dataclass(frozen=True)
class Item:
    """What is measured, or fails, as one.

    Attributes:
        section: whose table gets the rows.
        name: of the item.
        seconds: that it may take.
        rows: does the work.
    """

    section: str
    name: str
    seconds: float
    rows: Callable[[], Rows]


def repeated(work: Work, device: str) -> tuple[Work, int]:
    """The work so often that it lasts, and how often that is; what it loads is loaded already."""
    if device == "cpu":
        return work, 1
    times = min(1000, math.ceil(_LEAST / max(seconds(work, device), 1e-6)))

    def again() -> None:
        for _ in range(times):
            work()

    return again, times


def busy(work: Work, device: str) -> tuple[float, int] | None:
    """Seconds for which one call keeps the GPU busy, and how many kernels it starts there.

    None on a CPU, and where the profiler sees no GPU.
    """
    if device == "cpu":
        return None
    with profile(activities=[ProfilerActivity.CUDA]) as record:
        work()
        torch.cuda.synchronize()
    spans = sorted(
        (event.start_ns(), event.start_ns() + event.duration_ns())
        for event in record.profiler.kineto_results.events()
        if event.device_type() == DeviceType.CUDA and not event.is_user_annotation()
    )
    total = end = 0
    for start, stop in spans:  # those that overlap count once
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return (total / 1e9, len(spans)) if spans else None


def captured(work: Work) -> Work:
    """The same work as one CUDA graph, which starts all its kernels at once."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
