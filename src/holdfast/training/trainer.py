"""The trainer: data -> objective -> backward -> step -> checkpoint; it knows no method.

Killed at any moment it resumes from the last whole checkpoint, and on the same machine the finished
weights equal those of an unbroken run: the order of the data, dropout and every objective's draws
are functions of (seed, step), and the learning rate is a function of the step.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from holdfast.data import Data
from holdfast.errors import HoldfastError, InputError
from holdfast.files import write_table
from holdfast.models.registry import Architecture
from holdfast.progress import Progress, silent
from holdfast.random import Stream, hash_seed, seed_global_generators
from holdfast.training.checkpoint import CHECKPOINT, load_state, save_state
from holdfast.types import Objective

METRICS = "metrics.csv"


class TrainingError(HoldfastError, RuntimeError):
    """Training cannot go on."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How to train, whatever the objective.

    Attributes:
        epochs: passes over the data, at least 1.
        batch_size: examples in a step.
        optimizer: "adam" or "sgd" (with momentum).
        lr: learning rate at the start, positive.
        momentum: of sgd.
        weight_decay: ℓ2 penalty, at least 0.
        decay: "constant", or "cosine" down to 0 over all steps.
        seed: of the order of the data, dropout and the objective's draws.
        precision: "32-true", or "bf16-mixed": several times faster where the hardware has it.
        accelerator: Fabric's: "auto", "cpu", "cuda", ...
    """

    epochs: int
    batch_size: int = 128
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay: Literal["constant", "cosine"] = "cosine"
    seed: int = 0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, but must be at least 1.")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"lr is {self.lr}, but a learning rate is positive.")
        if self.weight_decay < 0 or self.momentum < 0:
            raise InputError(
                f"weight_decay is {self.weight_decay} and momentum {self.momentum}, but neither "
                "can be negative."
            )

    def lr_at(self, done: float) -> float:
        """The learning rate when a share ``done`` in [0, 1) of all steps is done."""
        return self.lr * (0.5 * (1 + math.cos(math.pi * done)) if self.decay == "cosine" else 1.0)

    def build(self, network: nn.Module) -> Optimizer:
        """The optimiser for a network's parameters."""
        parameters = network.parameters()
        if self.optimizer == "adam":
            return Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)


def fit(
    network: nn.Module,
    data: Data,
    objective: Objective,
    schedule: Schedule,
    *,
    architecture: Architecture,
    out: Path,
    checkpoint_seconds: float = 60.0,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Train ``network`` in place, or go on from the checkpoint in ``out``.

    Args:
        network: with its initial weights.
        data: the training set.
        objective: the loss.
        schedule: everything else.
        architecture: of ``network``, for the checkpoint.
        out: folder for checkpoint.safetensors, metrics.csv and TensorBoard's files.
        checkpoint_seconds: time between checkpoints; there is one after every epoch as well.
        progress: told about every batch.

    Returns:
        The log: for each epoch the mean over its examples of everything the objective logs.

    Raises:
        TrainingError: if the loss is no longer a finite number.
        DamagedFileError: if the checkpoint in ``out`` cannot be read.
    """
    network.to(memory_format=torch.channels_last).train()  # halves the time of a convolution on CPU
    optimizer = schedule.build(network)
    state = _State()
    if (out / CHECKPOINT).exists():
        state = _State(**load_state(out / CHECKPOINT, network, optimizer))
    board = TensorBoardLogger(out, name="tensorboard", version="", purge_step=len(state.log))
    fabric = Fabric(
        accelerator=schedule.accelerator, devices=1, precision=schedule.precision, loggers=board
    )
    model, optimizer = fabric.setup(network, optimizer)
    in_epoch = -(-len(data) // schedule.batch_size)
    total = in_epoch * schedule.epochs
    progress.start(f"train {architecture.name}", total, state.step)
    saved = time.monotonic()
    with torch.random.fork_rng():
        while state.step < total:
            epoch, place = divmod(state.step, in_epoch)
            # for dropout
            seed_global_generators(hash_seed(schedule.seed, "step", state.step), fabric.device)
            index = _order(schedule.seed, epoch, len(data))[place * schedule.batch_size :]
            index = index[: schedule.batch_size]
            x, y = fabric.to_device((data.x(index), data.y[index]))
            for group in optimizer.param_groups:
                group["lr"] = schedule.lr_at(state.step / total)
            # The step is in the key, so that a draw for the whole batch differs between batches.
            rng = Stream.of(schedule.seed, index.to(x.device)).fold("train", state.step)
            loss, logs = objective(model, x, y, rng)
            state.add(logs, len(index), out)
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
            state.step += 1
            progress.advance(note=state.brief())
            end_of_epoch = place + 1 == in_epoch
            if end_of_epoch:
                state.close(epoch + 1)
                fabric.log_dict(state.log[-1], step=epoch + 1)
            if end_of_epoch or time.monotonic() - saved > checkpoint_seconds:
                save_state(out / CHECKPOINT, network, optimizer, architecture, asdict(state))
                write_table(out / METRICS, pd.DataFrame(state.log))
                saved = time.monotonic()
    board.finalize("success")
    return pd.DataFrame(state.log)


@dataclass
class _State:
    """How far training has come; goes into every checkpoint."""

    step: int = 0
    log: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, logs: Mapping[str, Tensor], examples: int, out: Path) -> None:
        """Take in what one step logs."""
        for name, value in logs.items():
            number = float(value.detach())
            if not math.isfinite(number):
                raise TrainingError(
                    f"{name} is {number} at step {self.step}: training has diverged; the last "
                    f"checkpoint is in {out}, begin again with a smaller lr than in its run.json."
                )
            self.sums[name] = self.sums.get(name, 0.0) + number * examples
        self.count += examples

    def close(self, epoch: int) -> None:
        """End an epoch: turn sums into a line of the log."""
        means = {name: value / self.count for name, value in self.sums.items()}
        self.log.append({"epoch": epoch, "step": self.step, **means})
        self.sums, self.count = {}, 0

    def brief(self) -> str:
        """The running means, for the progress bar."""
        return " ".join(f"{name} {value / self.count:.3f}" for name, value in self.sums.items())


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, count: int) -> Tensor:
    """The order of the examples in an epoch."""
    generator = torch.Generator().manual_seed(hash_seed(seed, "order", epoch))
    return torch.randperm(count, generator=generator)
