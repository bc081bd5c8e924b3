"""What the trainer costs beyond its passes: a training step against bare passes, in turns.

    python benchmarks/training_step.py [--network small] [--device cuda] [--processor-time]

A step of PGD training with k steps stands against k passes forward and backward to the images and
one to the weights; a step of stability training against two to the weights. The bare passes do
nothing else: no attack, no noise, no optimiser, no log. They take turns in one run: before each of
the trainer's steps come the bare passes on a copy of the network and the same batch. Printed is the
median, over the steps, of their times and of the ratio of the two.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from pairs import ratio
from torch import Tensor, nn
from torch.nn import functional

from holdfast.attacks import PGD
from holdfast.data import Data
from holdfast.models import Architecture
from holdfast.random import Stream
from holdfast.tensors import eval_mode
from holdfast.threat import Linf
from holdfast.training import Adversarial, Schedule, Stability, fit
from holdfast.types import Objective

Clock = Callable[[], float]


def bare(network: nn.Module, x: Tensor, y: Tensor, to_images: int, to_weights: int) -> None:
    inside = x.clone().requires_grad_()
    with eval_mode(network):  # as the attack has it, without dropout
        for _ in range(to_images):
            torch.autograd.grad(functional.cross_entropy(network(inside), y), inside)
    for _ in range(to_weights):
        functional.cross_entropy(network(x), y).backward()
    network.zero_grad()


class InTurns:
    """An objective that times the trainer's last step and then the bare passes.

    The trainer's step lasts from the end of this object's own work to its next call.
    """

    def __init__(self, objective: Objective, network: nn.Module, passes: tuple[int, int]) -> None:
        self.objective, self.copy, self.passes = objective, copy.deepcopy(network), passes
        self.clock: Clock = time.perf_counter
        self.began: float | None = None
        self.steps: list[float] = []
        self.bare: list[float] = []

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The objective, timed around."""
        now = self.now(x)
        if self.began is not None:
            self.steps.append(now - self.began)
        now = self.now(x)
        bare(self.copy, x, y, *self.passes)
        self.began = self.now(x)
        self.bare.append(self.began - now)
        return self.objective(model, x, y, rng)

    def now(self, x: Tensor) -> float:
        """The time, once the device has done all that it was given."""
        if x.device.type == "cuda":
            torch.cuda.synchronize()
        return self.clock()


def contests(k: int) -> dict[str, tuple[Objective, tuple[int, int]]]:
    """By name: what is trained, and the bare passes to images and to weights beside it."""
    attack = PGD(Linf(0.1), steps=k, early_stop=False)
    return {
        f"PGD-{k}": (Adversarial(attack=attack), (k, 1)),
        "stability": (Stability(sigma=0.3), (0, 2)),
    }


def taken(
    architecture: Architecture,
    objective: Objective,
    passes: tuple[int, int],
    schedule: Schedule,
    steps: int,
    clock: Clock = time.perf_counter,
) -> InTurns:
    """What so many steps of the trainer take, on random images, and the passes beside each."""
    count = schedule.batch_size * (steps + 2)  # the first warms up, and the last has no end
    x = torch.rand(count, *architecture.shape, generator=torch.Generator().manual_seed(0))
    network = architecture.build().to(schedule.accelerator)
    network = network.to(memory_format=torch.channels_last)  # as the trainer has it
    turns = InTurns(objective, network, passes)
    turns.clock = clock
    images = Data.of(x, torch.arange(count) % architecture.classes)
    with tempfile.TemporaryDirectory() as folder:
        fit(network, images, turns, schedule, architecture=architecture, out=Path(folder))
    turns.steps, turns.bare = turns.steps[1:], turns.bare[1:-1]
    return turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="A")
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--pgd-steps", type=int, default=7)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    shape = (1, options.side, options.side)
    architecture = Architecture(name=options.network, shape=shape, classes=10)
    clock = time.process_time if options.processor_time else time.perf_counter
    schedule = Schedule(epochs=1, batch_size=options.batch_size, accelerator=options.device)
    print(f"{'objective':<10}  {'bare':>10}  {'step':>10}  step / bare")
    for name, (objective, passes) in contests(options.pgd_steps).items():
        turns = taken(architecture, objective, passes, schedule, options.steps, clock)
        passed, step = statistics.median(turns.bare), statistics.median(turns.steps)
        over = ratio(turns.steps, turns.bare).median
        print(f"{name:<10}  {1e3 * passed:>7.1f} ms  {1e3 * step:>7.1f} ms  {over:>11.3f}")


if __name__ == "__main__":
    main()
