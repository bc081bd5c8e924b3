"""A training run on disk: checkpoint.safetensors, all that is needed to go on.

Weights, optimiser, EMA and best weights so far, and in the header the architecture, the
loss scaler and the journal. There are no random states to keep, since every draw is keyed by (seed,
purpose, step), and no counters of patience, since the journal holds all metrics. Loading it
executes nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from holdfast import lightning
from holdfast.data import Data
from holdfast.errors import DamagedFileError, OutputError
from holdfast.files import fitted, read_tensors, write_tensors
from holdfast.models.checkpoint import part_of, weights_of
from holdfast.models.registry import Architecture
from holdfast.recorded import recorded
from holdfast.training.ema import EMA
from holdfast.training.journal import Journal
from holdfast.training.schedule import Schedule
from holdfast.types import Objective

CHECKPOINT = "checkpoint.safetensors"


@dataclass
class State:
    """All that changes while training."""

    network: nn.Module
    optimizer: Optimizer
    precision: "lightning.Precision"  # holds the scaler of a loss in 16 bits
    ema: EMA | None
    best: dict[str, Tensor] = field(default_factory=dict)  # weights of the best epoch, if asked for
    journal: Journal = field(default_factory=Journal)
    settings: Mapping[str, Any] = field(default_factory=dict)  # what does not change

    @property
    def chosen(self) -> nn.Module:
        """The network that is measured and handed over: the EMA, where there is one."""
        return self.network if self.ema is None else self.ema.network


@dataclass(frozen=True)
class _Header:
    """What stands in the header of a checkpoint, beside the architecture."""

    scaler: dict[str, int | float]
    progress: Journal
    settings: dict[str, Any] | None = None  # of 0.2 and before there are none


def settings_of(data: Data, objective: Objective, schedule: Schedule) -> dict[str, Any]:
    """What a training that goes on must have been begun with; it may go on for more epochs.

    An objective that is a function is known by its name: it may hold what changes on the way.
    """
    how = schedule.record()
    for free in ("epochs", "accelerator", "processes"):
        del how[free]
    labels = hashlib.sha256(data.y.numpy().tobytes()).hexdigest()[:16]
    named = objective.__qualname__ if isinstance(objective, FunctionType) else recorded(objective)
    return {"objective": named, **how, "labels of digest": labels}


def save_state(path: Path, state: State, architecture: Architecture) -> None:
    """Write all that training needs to go on from here."""
    optimizer = {
        f"optimizer/{parameter}/{key}": value
        for parameter, entries in state.optimizer.state_dict()["state"].items()
        for key, value in entries.items()
        if value is not None
    }
    tensors = {
        **weights_of(state.network),
        **optimizer,
        **_named("average/", state.ema.network.state_dict() if state.ema else {}),
        **_named("best/", state.best),
    }
    about = {
        "architecture": architecture.to_dict(),
        "scaler": state.precision.state_dict(),
        "progress": asdict(state.journal),
        "settings": dict(state.settings),
    }
    write_tensors(path, tensors, about)


def load_state(path: Path, state: State) -> None:
    """Put everything where `save_state` left it.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged or of another network or optimiser.
        OutputError: if it is of a training with other settings.
    """
    tensors, header = read_tensors(path)
    about: _Header = fitted(header, _Header, path, "remove it to begin again")
    for name, value in (about.settings or {}).items():
        if value != state.settings.get(name):
            raise OutputError(
                f"{path.parent} holds a training with {name} {value}, and not "
                f"{state.settings.get(name)}; give an empty folder."
            )
    entries = state.optimizer.state_dict()
    parameters = [each for group in state.optimizer.param_groups for each in group["params"]]
    own = state.network.state_dict()
    try:
        state.network.load_state_dict(part_of(tensors, "model/"))
        if state.ema is not None:
            state.ema.network.load_state_dict(part_of(tensors, "average/"))
        for name, tensor in part_of(tensors, "optimizer/").items():
            parameter, key = name.split("/")
            if tensor.dim() and tensor.shape != parameters[int(parameter)].shape:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}")
            entries["state"].setdefault(int(parameter), {})[key] = tensor
        state.optimizer.load_state_dict(entries)
        state.precision.load_state_dict(about.scaler)
        state.best = part_of(tensors, "best/")
        if any(own[name].shape != tensor.shape for name, tensor in state.best.items()):
            raise ValueError("the best weights are of another network")
        state.journal = about.progress
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        raise DamagedFileError(
            f"{path} is no checkpoint of this training run: {error}; remove it to begin again."
        ) from error


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
