"""What large runs cost on 1 to 512 GPUs, by a simulation of workers from measured passes.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py --suite runs/suite \
        --certificates runs/sequential --out docs/scaling

prints the tables of docs/scaling.md and writes docs/scaling.svg. --suite is a finished evaluation,
and --certificates a finished certification by sequential votes: every image of the simulation is
given the passes of one of theirs, drawn at random, so that chunks are as unequal as those runs'. A
worker that is free takes the next chunk, and what it returns waits until the driver, which takes
one part after the other, has written it.

Of a GPU the script knows nothing: --forward and --backward are seconds of a pass of one image
there. By default they are those that docs/results/device.md has for madry-cifar10 on an H200, in
float32, times the multiply-adds of a ResNet-50 over its own: that time grows with multiply-adds is
an assumption. Those of one core are measured, on the machine at hand.
"""

import argparse
import heapq
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from attack_strength import markdown
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray
from torch import nn
from torchvision.models import resnet50

from holdfast.files import write_text
from holdfast.models import Architecture
from holdfast.report.style import CYCLE, DASHES, STYLE, standalone_svg
from holdfast.results import CLEAN, read_rows
from holdfast.threads import multiply_adds

GPUS = (1, 8, 64, 512)
IMAGENET = (3, 224, 224)
VALIDATION, MILLION, VOTES = 50_000, 1_000_000, 100_000

#: docs/results/device.md: madry-cifar10, images a second of PGD with 10 steps, each a forward and a
#: backward pass, and of a certificate, which takes 100 votes and 100 that choose the class.
PGD_ON_AN_H200, PGD_STEPS = 82.5, 10
CERTIFY_ON_AN_H200, CERTIFY_VOTES = 15.8, 200


class Device(NamedTuple):
    """Seconds of a pass of one image."""

    name: str
    forward: float
    backward: float


class Job(NamedTuple):
    """Passes of each image that was measured, and how many images are a chunk."""

    name: str
    forwards: NDArray[np.float64]
    backwards: NDArray[np.float64]
    chunk: int

    def chunks(self, images: int, device: Device) -> NDArray[np.float64]:
        """Seconds of each chunk of a run of so many images."""
        drawn = np.random.default_rng(0).integers(len(self.forwards), size=images)
        seconds = self.forwards * device.forward + self.backwards * device.backward
        return np.add.reduceat(seconds[drawn], np.arange(0, images, self.chunk))


def duration(chunks: NDArray[np.float64], workers: int, driver: float) -> float:
    """Seconds until the last chunk is written; the driver needs so many for each."""
    free, ends = [0.0] * workers, np.empty(len(chunks))
    for place, seconds in enumerate(chunks):
        ends[place] = free[0] + seconds
        heapq.heapreplace(free, ends[place])
    # Each is written after it came, and after those before it: the longest of all such waits.
    return float((np.sort(ends) + driver * np.arange(len(ends), 0, -1)).max())


def efficiency(chunks: NDArray[np.float64], workers: int, driver: float) -> float:
    return float(chunks.sum()) / (workers * duration(chunks, workers, driver))


def jobs(suite: Path, certificates: Path) -> Iterator[Job]:
    rows = read_rows(suite)
    passes = rows[rows["attack"] != CLEAN].groupby("index")[["forwards", "backwards"]].sum()
    forwards, backwards = passes.to_numpy(float).T
    for size in (128, 32, 8):
        yield Job("suite", forwards, backwards, size)
    votes = read_rows(certificates).groupby("index")["draws"].first().to_numpy(float) + 100
    yield Job("n = 100,000", np.full(1, VOTES + 100.0), np.zeros(1), 8)
    for size in (128, 8):
        yield Job("n up to 100,000", votes, np.zeros(len(votes)), size)


def gpu() -> Device:
    """What is assumed of one; see above."""
    wide = Architecture(name="madry-cifar10", shape=(3, 32, 32), classes=10)
    known = multiply_adds(wide.build(), wide.shape), multiply_adds(resnet50().eval(), IMAGENET)
    assert all(known)
    larger = known[1] / known[0]  # type: ignore[operator]
    forward = larger / (CERTIFY_ON_AN_H200 * CERTIFY_VOTES)
    both = larger / (PGD_ON_AN_H200 * PGD_STEPS)
    return Device("GPU (assumed)", forward, both - forward)


def core(images: int = 4, rounds: int = 3) -> Device:
    """Processor time of a pass of ResNet-50 here, on one thread."""
    torch.set_num_threads(1)
    network, x = resnet50().eval(), torch.rand(images, *IMAGENET)
    both = min(_seconds(network, x, backward=True) for _ in range(rounds)) / images
    forward = min(_seconds(network, x, backward=False) for _ in range(rounds)) / images
    return Device("core (measured)", forward, both - forward)


def _seconds(network: nn.Module, x: torch.Tensor, *, backward: bool) -> float:
    x, began = x.detach().requires_grad_(backward), time.process_time()
    with torch.set_grad_enabled(backward):
        total = network(x).sum()
    if backward:
        torch.autograd.grad(total, x)
    return time.process_time() - began


def balance(
    jobs: Sequence[Job], images: int, device: Device, driver: float
) -> list[dict[str, object]]:
    """Efficiencies: the part of the GPUs' time in which they compute."""
    lines = []
    for job in jobs:
        chunks = job.chunks(images, device)
        lines.append(
            {
                "images": f"{images:,}",
                "run": job.name,
                "images a chunk": job.chunk,
                "chunks": f"{len(chunks):,}",
                "longest / mean": f"{chunks.max() / chunks.mean():.1f}",
                **{_gpus(n): f"{efficiency(chunks, n, driver):.2f}" for n in GPUS},
            }
        )
    return lines


def costs(
    jobs: Sequence[Job], images: int, devices: Sequence[Device], driver: float
) -> list[dict[str, object]]:
    """Passes of an image, and hours of the clock."""
    lines = []
    for job in jobs:
        seconds = {device.name: job.chunks(images, device) for device in devices}
        on_gpu = seconds[devices[0].name]
        lines.append(
            {
                "images": f"{images:,}",
                "run": job.name,
                "images a chunk": job.chunk,
                "forwards": f"{job.forwards.mean():,.0f}",
                "backwards": f"{job.backwards.mean():,.0f}",
                "core-days": f"{seconds[devices[1].name].sum() / 86400:,.0f}",
                "GPU-hours": f"{on_gpu.sum() / 3600:,.1f}",
                **{_gpus(n): _clock(duration(on_gpu, n, driver)) for n in GPUS},
            }
        )
    return lines


def _gpus(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"


def _clock(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"


def drawn(jobs: Sequence[Job], images: int, device: Device, driver: float) -> Figure:
    """Left, how the chunks balance; right, how long the run takes."""
    counts = [2**power for power in range(10)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        kinds = list(dict.fromkeys(job.name for job in jobs))
        for job in jobs:
            chunks = job.chunks(images, device)
            same = [other.chunk for other in jobs if other.name == job.name]
            look = {"color": CYCLE[kinds.index(job.name)], "ls": DASHES[same.index(job.chunk)]}
            label = f"{job.name}, {job.chunk} a chunk"
            left.plot(counts, [efficiency(chunks, n, driver) for n in counts], label=label, **look)
            hours = [duration(chunks, n, driver) / 3600 for n in counts]
            right.plot(counts, hours, label=label, **look)
        left.set_ylabel("efficiency")
        left.set_ylim(0, 1.03)
        left.legend(loc="lower left")
        right.set_ylabel("hours")
        right.set_yscale("log")
        right.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        for axes in (left, right):
            _counted(axes, counts)
        return figure


def _counted(axes: Axes, counts: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("GPUs")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", type=Path, required=True)
    parser.add_argument("--certificates", type=Path, required=True)
    parser.add_argument(
        "--driver",
        type=float,
        default=0.007,
        help="seconds of a chunk, as benchmarks/driver_limits.py measures them",
    )
    parser.add_argument("--forward", type=float, help="seconds of an image on a GPU")
    parser.add_argument("--backward", type=float)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    fast, slow = gpu(), core()
    if options.forward and options.backward:
        fast = Device("GPU (given)", options.forward, options.backward)
    known = list(jobs(options.suite, options.certificates))
    for device in (fast, slow):
        rates = f"{1 / device.forward:,.1f} forwards or {1 / device.backward:,.1f} backwards"
        print(f"{device.name}: {rates} of a ResNet-50 a second")
    for images in (VALIDATION, MILLION):
        print(f"\n{markdown(balance(known, images, fast, options.driver))}")
        print(f"\n{markdown(costs(known, images, (fast, slow), options.driver))}")
    write_text(
        options.out.with_suffix(".svg"),
        standalone_svg(drawn(known, VALIDATION, fast, options.driver)),
    )


if __name__ == "__main__":
    main()
