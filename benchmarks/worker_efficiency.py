"""How well workers use a machine: N of them beside one process of one thread, at the same work.

    OMP_NUM_THREADS=1 python benchmarks/worker_efficiency.py --model runs/pgd --data mnist \
        --images 4096 --linf 0.3 --workers 2

Three take turns, and medians over rounds are printed. "one" is one process, "apart" N processes of
which each does all of it at the same time and that know nothing of each other, and "workers" N
workers that share it. Efficiency is the time of one over N times that of the workers; the bound is
that of one over that of the processes apart: cores that share memory, a clock or even themselves
are not worth N, whoever uses them. "share" is the part of a core that one had: a machine on which
it is below 0.95 is busy otherwise, and its times say nothing.
"""

import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from attack_strength import arguments, markdown

from holdfast import data
from holdfast.attacks import PGD
from holdfast.certify import CertificationConfig, certify_data
from holdfast.evaluation import EvaluationConfig, evaluate_data
from holdfast.models import loading
from holdfast.threat import Linf
from holdfast.workers import connected


class Job(NamedTuple):
    """Work that is whole in one process: what is loaded, and what is done to it."""

    command: str
    model: str
    data: str
    data_dir: Path | None
    images: int
    linf: float
    batch_size: int

    def seconds(self, workers: int | None = None) -> float:
        """Of the wall clock, for all of it."""
        network, pictures = _loaded(self.model, self.data, self.data_dir, self.images)
        began = time.perf_counter()
        if self.command == "evaluate":
            attacks = [("pgd", PGD(Linf(self.linf), steps=40))]
            how = EvaluationConfig(batch_size=self.batch_size, audit=0)
            evaluate_data(network, pictures, attacks, how, workers=workers)
        else:
            config = CertificationConfig(sigma=0.25, votes=1000)
            certify_data(network, pictures, config, workers=workers)
        return time.perf_counter() - began


@lru_cache(maxsize=1)
def _loaded(
    model: str, named: str, data_dir: Path | None, images: int
) -> tuple[torch.nn.Module, data.Data]:
    pictures = data.load(named, data_dir=data_dir, limit=images)
    return loading.load(model, pictures.shape).eval(), pictures


def measure(job: Job, workers: int, rounds: int, apart: ProcessPoolExecutor) -> dict[str, object]:
    """One line of the table; the first round, in which all load what they need, does not count."""
    alone, own, bound, shared = [], [], [], []
    for number in range(rounds + 1):
        began = time.process_time()
        one = job.seconds()
        worked = time.process_time() - began
        together = max(apart.map(Job.seconds, [job] * workers))
        many = job.seconds(workers)
        if number:
            alone.append(one)
            own.append(worked / one)
            bound.append(one / together)
            shared.append(one / (workers * many))
    return {
        "command": job.command,
        "images": job.images,
        "one, seconds": f"{statistics.median(alone):.1f}",
        "efficiency": f"{statistics.median(shared):.2f}",
        "bound": f"{statistics.median(bound):.2f}",
        "of the bound": f"{statistics.median(map(_ratio, shared, bound)):.2f}",
        "share": f"{statistics.median(own):.2f}",
    }


def _ratio(efficiency: float, bound: float) -> float:
    return efficiency / bound


def main() -> None:
    parser = arguments(__doc__, limit=4096)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    options = parser.parse_args()
    _, total = options.images
    if torch.get_num_threads() != 1:
        sys.exit("one process is to have one thread: set OMP_NUM_THREADS=1.")
    jobs = [
        Job(
            command,
            options.model,
            options.data,
            options.data_dir,
            images,
            options.linf,
            options.batch_size,
        )
        for command, images in (("evaluate", total), ("certify", total // 8))
        if options.only in command
    ]
    began = time.perf_counter()
    with (
        connected(options.workers),
        ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as apart,
    ):
        print(f"Ray has begun after {time.perf_counter() - began:.1f} s")
        lines = [measure(job, options.workers, options.rounds, apart) for job in jobs]
    print(f"\n{options.workers} workers, medians of {options.rounds} rounds\n")
    print(markdown(lines))


if __name__ == "__main__":
    main()
