"""The trainer: data -> objective -> backward -> step -> checkpoint; it knows no method.

Killed at any moment it resumes from the last whole checkpoint, and on the same machine the finished
weights equal those of an unbroken run: the order of the data, dropout and every objective's draws
are functions of (seed, step), and the learning rate is a function of the step. On a GPU this holds
for networks whose operations have deterministic kernels, as convolutions have in cuDNN.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from holdfast import lightning
from holdfast.checks import warn_of
from holdfast.data import Data
from holdfast.errors import HoldfastError, unknown
from holdfast.files import StrPath, as_path, clear_unfinished, write_table
from holdfast.models.registry import Architecture
from holdfast.processes import gather_gradients, in_precision, repeatable
from holdfast.progress import Progress, silent
from holdfast.random import Stream, hash_seed, seed_global_generators
from holdfast.threads import suited_threads
from holdfast.training.batches import Batches, Load
from holdfast.training.clock import Clock
from holdfast.training.ema import EMA
from holdfast.training.epochs import save_epoch
from holdfast.training.hooks import Hook
from holdfast.training.journal import Terms, not_finite
from holdfast.training.paced import paced
from holdfast.training.rates import too_late
from holdfast.training.schedule import Schedule
from holdfast.training.selection import Selection
from holdfast.training.state import CHECKPOINT, State, load_state, save_state, settings_of
from holdfast.training.trainable import check_trainable
from holdfast.training.validation import Validation
from holdfast.types import Objective

__all__ = ["TrainingError", "fit"]

METRICS, SPEED = "metrics.csv", "speed.csv"

#: Steps between two looks at what a GPU has logged; on a CPU, where looking is free, 1.
STEPS_BETWEEN_LOOKS = 16


class TrainingError(HoldfastError, RuntimeError):
    """Training cannot go on."""


def fit(
    network: nn.Module,
    data: Data,
    objective: Objective,
    schedule: Schedule,
    *,
    architecture: Architecture,
    out: StrPath,
    validation: Validation | None = None,
    selection: Selection | None = None,
    hooks: Sequence[Hook] = (),
    keep_epochs: bool = False,
    checkpoint_seconds: float = 60.0,
    before_writing: Callable[[], object] = lambda: None,
    progress: Progress = silent,
    fabric: "lightning.Fabric | None" = None,
) -> pd.DataFrame:
    """Train ``network`` in place, or go on from the checkpoint in ``out``.

    Args:
        network: with its initial weights; in the end it has the best epoch's if there is a
            ``selection``, otherwise the last ones, averaged if the schedule says so.
        data: the training set.
        objective: the loss.
        schedule: how to train.
        architecture: of ``network``, for the checkpoint.
        out: folder for checkpoint.safetensors, metrics.csv, speed.csv and TensorBoard's files, all
            written by the first process.
        validation: what to measure after every epoch.
        selection: which epoch's weights to keep, and when to stop.
        hooks: called after every step.
        keep_epochs: keep the network after each epoch too (`holdfast.training.kept_epochs`).
        checkpoint_seconds: time between checkpoints; there is one after every epoch as well.
        before_writing: called before each of them; raises if ``out`` may not be written to.
        progress: told about every batch.
        fabric: the processes, if they are started already.

    Returns:
        The log: for each epoch the mean over its examples of everything that objective and hooks
        log, the learning rate at its end, and what validation measured.

    Raises:
        InputError: if the selection names no column of the log; and see `check_trainable`.
        TrainingError: if a term or a weight is no longer a finite number. An overflow in 16 bits
            alone is none: Fabric's scaler leaves out that step and scales the loss down.
        DamagedFileError: if the checkpoint in ``out`` cannot be read.
        OutputError: if it is of another training: only epochs may have been added.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.data import Data
        >>> from holdfast.models import Architecture
        >>> from holdfast.training import Schedule, Standard, fit
        >>> small, out = Architecture(name="small", shape=(1, 8, 8), classes=3), Path("run")
        >>> out.mkdir()
        >>> data, how = Data.of(x, y), Schedule(epochs=2, batch_size=2, accelerator="cpu")
        >>> log = fit(small.build(), data, Standard(), how, architecture=small, out=out)
        >>> len(log), "accuracy" in log
        (2, True)
    """
    out = as_path(out)
    fabric = fabric or schedule.launch()
    if fabric.is_global_zero:
        warn_of(too_late(schedule.rate, schedule.epochs))
    check_trainable(network, data, schedule)
    # channels_last halves the time of a convolution on a CPU.
    network = fabric.to_device(network.to(memory_format=torch.channels_last)).train()
    state = State(
        network=network,
        optimizer=schedule.optimizer.build(
            network.parameters(), schedule.lr, schedule.weight_decay
        ),
        precision=fabric.strategy.precision,
        ema=None if schedule.ema is None else EMA(network, schedule.ema),
        settings=settings_of(data, objective, schedule),
    )
    if (out / CHECKPOINT).exists():
        load_state(out / CHECKPOINT, state)
    keeper = _Keeper(
        fabric, state, architecture, out, checkpoint_seconds, before_writing, keep_epochs
    )
    stepper = _Stepper(fabric, state, objective, schedule, hooks)
    batches = Batches(data, schedule.batch_size, schedule.accumulate, schedule.seed, fabric)
    journal, total = state.journal, batches.steps * schedule.epochs
    between = 1 if fabric.device.type == "cpu" else STEPS_BETWEEN_LOOKS
    clock = Clock()
    if not fabric.is_global_zero:
        progress = silent
    progress.start(f"train {architecture.name}", total, journal.step)
    note = ""
    if journal.step == 0:
        keeper.keep_epoch()  # where training begins
    with (
        suited_threads(data.shape, network, progress=progress),
        keeper,
        torch.random.fork_rng(),
        repeatable(),
        batches.loads(journal.step) as loads,
    ):
        while journal.step < total and not (selection and selection.exhausted(journal.log)):
            epoch, place = divmod(journal.step, batches.steps)
            rate = schedule.lr * schedule.rate(journal.step / batches.steps, schedule.epochs)
            load = next(loads)
            stepper.step(load, rate, journal.step / total)
            journal.step += 1
            clock.count(load.examples)
            ends = place + 1 == batches.steps
            if ends or journal.step % between == 0:
                keeper.look(stepper.terms)
                note = f"{journal.brief()} {clock.brief(total - journal.step)}"
                if selection:
                    _check_metric(selection, {*journal.sums, "lr"}, validation)
            progress.advance(note=note)
            if ends:
                keeper.check_weights()
                clock.stop()
                measured = {}
                if validation is not None:
                    measured = validation.measure(state.chosen, schedule.seed, fabric)
                journal.close(epoch + 1, {"lr": rate, **measured})
                journal.speed.append({"epoch": epoch + 1, **clock.restart()})
                if selection and selection.best(journal.log) == epoch + 1:
                    state.best = {
                        name: tensor.detach().clone()
                        for name, tensor in state.chosen.state_dict().items()
                    }
                keeper.close()
            elif journal.step % between == 0:
                keeper.save_if_time()
    keeper.finish()
    network.load_state_dict(state.best if selection else state.chosen.state_dict())
    return pd.DataFrame(journal.log)


class _Stepper:
    """Makes the steps."""

    def __init__(
        self,
        fabric: "lightning.Fabric",
        state: State,
        objective: Objective,
        schedule: Schedule,
        hooks: Sequence[Hook],
    ) -> None:
        self._fabric, self._state, self._schedule = fabric, state, schedule
        self._objective, self._hooks = objective, hooks
        self._optimizer: Any = fabric.setup_optimizers(state.optimizer)
        self._one = torch.zeros(1, dtype=torch.int64, device=fabric.device)
        self.terms = Terms(fabric)

    def step(self, load: Load, lr: float, progress: float) -> None:
        """One step of the optimiser, and what comes after it."""
        fabric, schedule = self._fabric, self._schedule
        network, step = self._state.network, self._state.journal.step
        for group in self._state.optimizer.param_groups:
            group["lr"] = lr
        self.terms.begin(step, load.examples)
        objective = paced(self._objective, progress)
        for part, x, y in load.parts:
            seed_global_generators(  # for dropout
                hash_seed(schedule.seed, "step", step) ^ part.number, fabric.device
            )
            x, y, examples = fabric.to_device((x, y, part.examples))
            # Its key is the step's in every process and part; its draws are the examples'.
            rng = Stream.of(schedule.seed, examples).fold("train", step)
            with in_precision(network, fabric):
                loss, logs = objective(network, x, y, rng)
            fabric.backward(loss * part.weight)
            self.terms.add(step, logs, part.weight)
        gather_gradients(fabric, network)
        if schedule.clip is not None:
            norm = fabric.clip_gradients(
                network, self._optimizer, max_norm=schedule.clip, error_if_nonfinite=False
            )
            if norm is not None and schedule.precision != "16-mixed":  # may overflow, see `fit`
                self._say({"gradient_norm": norm})
        self._optimizer.step()
        self._optimizer.zero_grad()
        with torch.no_grad():
            self._after(step)

    def _after(self, step: int) -> None:
        for number, hook in enumerate(self._hooks):
            rng = Stream.of(self._schedule.seed, self._one).fold("hook", number, step)
            self._say(hook(self._state.network, rng, step))
        if self._state.ema is not None:
            self._state.ema.update(self._state.network, step + 1)

    def _say(self, terms: Mapping[str, Tensor]) -> None:
        """Log what is the same in every process."""
        self.terms.add(self._state.journal.step, terms, 1 / self._fabric.world_size)


class _Keeper:
    """Looks at what is logged, and writes files: checkpoints, tables, TensorBoard's."""

    def __init__(
        self,
        fabric: "lightning.Fabric",
        state: State,
        architecture: Architecture,
        out: Path,
        seconds: float,
        before_writing: Callable[[], object],
        keep_epochs: bool,
    ) -> None:
        self._fabric, self._state, self._architecture = fabric, state, architecture
        self._out, self._seconds, self._before_writing = out, seconds, before_writing
        self._keep_epochs = keep_epochs
        self._saved = time.monotonic()
        self._step: int | None = state.journal.step or None  # of the last checkpoint
        self._board: lightning.TensorBoardLogger | None = None
        if fabric.is_global_zero:
            out.mkdir(parents=True, exist_ok=True)
            clear_unfinished(out)
            done = len(state.journal.log)
            self._board = lightning.TensorBoardLogger(
                out, name="tensorboard", version="", purge_step=done
            )

    def look(self, terms: Terms) -> None:
        """Take what the steps logged into the journal."""
        for step, examples, sums in terms.read():
            wrong = not_finite(sums)
            if wrong is not None:
                raise self._diverged(f"{wrong} is {sums[wrong] / examples} at step {step}")
            self._state.journal.add(sums, examples)

    def check_weights(self) -> None:
        """The gradient of a finite loss may still not be finite, and then nor are the weights."""
        wrong = self._spoilt()
        if wrong is not None:
            step = self._state.journal.step - 1
            raise self._diverged(f"weight {wrong} is not finite after step {step}")

    def save_if_time(self) -> None:
        """Write a checkpoint if the last one is old; one of spoilt weights never."""
        if (
            self._fabric.is_global_zero
            and time.monotonic() - self._saved > self._seconds
            and self._spoilt() is None  # the next loss will tell all processes
        ):
            self._save()

    def close(self) -> None:
        """Write what the end of an epoch brings."""
        journal = self._state.journal
        self.keep_epoch()  # before the checkpoint, behind which training never goes back
        if self._board is not None:
            self._board.log_metrics({**journal.log[-1], **journal.speed[-1]}, len(journal.log))
            self._save()
            self._write_tables()

    def keep_epoch(self) -> None:
        """Keep the network of the epoch that has ended, if all are to be kept."""
        if self._keep_epochs and self._fabric.is_global_zero:
            self._before_writing()
            epoch = len(self._state.journal.log)
            save_epoch(self._out, epoch, self._state.chosen, self._architecture)

    def finish(self) -> None:
        """Write the rest."""
        if self._board is not None:
            self._write_tables()  # of a process that was killed right after its last checkpoint

    def __enter__(self) -> None:
        pass

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        """End TensorBoard's thread, which would go on writing to a folder that may be gone."""
        if self._board is not None:
            with suppress(*([OSError] if failed else [])):  # the first failure is what is told
                self._board.finalize("failed" if failed else "success")

    def _write_tables(self) -> None:
        write_table(self._out / METRICS, pd.DataFrame(self._state.journal.log))
        write_table(self._out / SPEED, pd.DataFrame(self._state.journal.speed))

    def _save(self) -> None:
        self._before_writing()
        save_state(self._out / CHECKPOINT, self._state, self._architecture)
        self._step, self._saved = self._state.journal.step, time.monotonic()

    def _spoilt(self) -> str | None:
        named = list(self._state.network.named_parameters())
        finite = torch.stack([parameter.isfinite().all() for _, parameter in named])
        return None if finite.all() else named[int(finite.int().argmin())][0]

    def _diverged(self, what: str) -> TrainingError:
        path = self._out / CHECKPOINT
        last = "there is no checkpoint yet"
        if self._step is not None:
            last = f"the last good checkpoint is {path}, of step {self._step}"
        return TrainingError(
            f"{what}: training has diverged; {last}; begin again with a smaller lr, a warm-up or "
            "clipped gradients."
        )


def _check_metric(selection: Selection, logged: set[str], validation: Validation | None) -> None:
    """A wrong name is told after the first step, not after the first epoch."""
    if validation is not None:
        logged = logged | set(validation.names)
    if selection.metric not in logged:
        raise unknown("metric", selection.metric, logged)
