"""What the driver of workers bears: rows, chunks and bytes, up to a million images.

    OMP_NUM_THREADS=1 python benchmarks/driver_limits.py --run runs/eval

Chunks come as fast as the driver takes them, with rows like those of the finished evaluation that
is given, for as many attacks as it has. Times are those of the processor, since a driver waits for
workers and the disk most of the time anyway. "takes" is what a chunk of one attack costs the driver
that writes it, "merges" the end of the run, "goes on" what it takes to find out what is there after
an interruption; memory is the peak of the process. The last line sends chunks without any work
through Ray, to --workers.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from attack_strength import markdown

from holdfast import metrics
from holdfast.results import Missing, Part, Run, read_rows
from holdfast.workers import workers_at

IMAGES = (10_000, 100_000, 1_000_000)


class Halted(Exception):  # noqa: N818, no error
    """The run is interrupted when all of its chunks are there."""


def measure(folder: Path, images: int, batch_size: int) -> dict[str, object]:
    """One line of the table: a run of so many images, interrupted before its end and taken up."""
    own = [part for _, part in read_rows(folder).groupby(metrics.CELL, sort=False)]
    whole = [part.iloc[[place % len(part) for place in range(batch_size)]] for part in own]
    cells = [f"cell {number}" for number, _ in enumerate(own)]

    def compute(missing: Missing) -> Iterator[Part]:
        for cell in missing.cells:
            part = whole[cell].iloc[: len(missing.index)].assign(index=missing.index.numpy())
            yield Part(cell, part)

    chunks = dict(enumerate(torch.arange(images).split(batch_size)))
    halted = True

    def work(run: Run) -> None:
        run.fill(chunks, cells, compute, "driver")
        if halted:
            raise Halted

    def results(_: Run, __: pd.DataFrame) -> dict[str, Any]:
        return {}

    with tempfile.TemporaryDirectory() as temporary:
        out, times = Path(temporary) / "run", []
        for _ in range(2):
            began = time.process_time()
            try:
                Run.resume_or(out, "driver", {"images": images}, work, results)
            except Halted:
                stored = sum(path.stat().st_size for path in out.glob("rows/*"))
            times.append(time.process_time() - began)
            halted = False
        size = (out / "rows.csv").stat().st_size
    written = len(chunks) * len(cells)
    return {
        "images": f"{images:,}",
        "rows": f"{images * len(cells):,}",
        "takes, ms a chunk": f"{1e3 * times[0] / written:.2f}",
        "rows a second": f"{images * len(cells) / times[0]:,.0f}",
        "merges and goes on, s": f"{times[1]:.1f}",
        "chunks, MB": f"{stored / 1e6:.0f}",
        "rows.csv, MB": f"{size / 1e6:.0f}",
        "memory, MB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}",
    }


def chunks_a_second(workers: int, count: int) -> float:
    """Of chunks without any work, by the clock: what Ray and the driver need to pass them on."""

    def nothing(missing: Missing) -> Iterator[Part]:
        yield Part(0, pd.DataFrame({"index": missing.index.numpy()}))

    chunks = [Missing(number, torch.arange(128), [0]) for number in range(count)]
    with workers_at(workers, torch.device("cpu")) as engine:
        list(engine(nothing, chunks[: 8 * workers]))  # the workers begin
        began = time.perf_counter()
        list(engine(nothing, chunks))
        return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="a finished evaluation")
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    lines = []
    for images in options.images:  # each in a process of its own, for its memory
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            lines.append(alone.submit(measure, options.run, images, options.batch_size).result())
            print(lines[-1], file=sys.stderr)
    print(markdown(lines))
    count = 20_000
    print(f"\nthrough Ray: {chunks_a_second(options.workers, count):,.0f} chunks a second")


if __name__ == "__main__":
    main()
