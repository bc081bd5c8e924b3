"""Train in child processes, kill them at random moments, and begin again until the run is whole.

    python -m tests.killing FOLDER

leaves FOLDER/whole, a run that nothing disturbed, and FOLDER/killed. The parent computes nothing,
so that each child begins as a fresh process would, without the seconds of importing. A child tells
of every step through a pipe, and is killed within one after a random number of them: however fast
or busy the machine, no life is long enough for the whole run.
"""

import importlib
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from holdfast import data
from holdfast.attacks import FGSM
from holdfast.models import Architecture
from holdfast.random import Stream
from holdfast.results import read_about
from holdfast.threat import Linf
from holdfast.training import Schedule, Selection, Stability, train_data

KILLS = 8

#: Steps that a child may take before the one in which it is killed.
STEPS = 5


#: The end of the pipe on which a child tells of its steps; not a field of the hook, whose repr is
#: part of the run's record.
told: int


@dataclass(frozen=True)
class Jolt:
    """A hook that tells of the step, draws random numbers and moves the weights by them."""

    def __call__(self, network: nn.Module, rng: Stream, step: int) -> Mapping[str, Tensor]:
        os.write(told, b".")
        weight = next(network.parameters())
        weight += 1e-3 * rng.uniform(tuple(weight.shape))[0]
        return {"first_weight": weight.flatten()[0].clone()}


def train(out: Path) -> None:
    train_data(
        Architecture(name="D", shape=(1, 8, 8), classes=10),  # has dropout
        data.load("digits", "train", limit=400),
        Stability(sigma=0.3),
        Schedule(epochs=6, batch_size=64, ema=0.9, clip=1.0, accelerator="cpu"),
        out,
        checkpoint_seconds=0,  # most of the time goes into saving, so many kills fall into it
        held_out=80,
        attack=FGSM(Linf(0.1)),
        selection=Selection(patience=5),
        hooks=[Jolt()],
    )


def child(out: Path) -> tuple[int, int]:
    """Its process, and the end of the pipe from which its steps are read."""
    global told
    heard, told = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(heard)
        try:
            train(out)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(told)
    return process, heard


def wait(heard: int, steps: int) -> None:
    """Until so many steps were told of, or the child has ended."""
    while steps and os.read(heard, 1):
        steps -= 1


def check(status: int) -> None:
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("a child failed")


def complete(out: Path) -> bool:
    return (out / "run.json").exists() and bool(read_about(out)["complete"])


def main(folder: Path) -> None:
    torch.set_num_threads(1)  # a child has none of its parent's threads
    data.load("digits")  # so that no child need import what this and the logger import
    importlib.import_module("torch.utils.tensorboard")
    process, heard = child(folder / "whole")
    wait(heard, 1)
    began = time.monotonic()
    wait(heard, STEPS)
    step = (time.monotonic() - began) / STEPS
    check(os.waitpid(process, 0)[1])
    os.close(heard)
    chance, kills = random.Random(0), 0
    while not complete(folder / "killed"):
        process, heard = child(folder / "killed")
        if kills < KILLS:
            wait(heard, chance.randint(0, STEPS))
            time.sleep(chance.uniform(0, step))
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        os.close(heard)
        check(status)
        kills += os.WIFSIGNALED(status)
    print(kills)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
