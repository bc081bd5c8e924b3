"""A training run on disk: checkpoint.safetensors, all that is needed to go on.

Weights, optimiser, and in the header the architecture, the step and what has been logged. There are
no random states to keep, since every draw is keyed by (seed, purpose, step). Loading it executes
nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from holdfast.errors import DamagedFileError
from holdfast.files import read_tensors, write_tensors
from holdfast.models.checkpoint import part_of, weights_of
from holdfast.models.registry import Architecture

CHECKPOINT = "checkpoint.safetensors"


def save_state(
    path: Path,
    network: nn.Module,
    optimizer: Optimizer,
    architecture: Architecture,
    progress: Mapping[str, Any],
) -> None:
    """Write all that training needs to go on from here."""
    state = optimizer.state_dict()
    tensors = {
        f"optimizer/{parameter}/{key}": value
        for parameter, entries in state["state"].items()
        for key, value in entries.items()
        if value is not None
    }
    about = {"architecture": architecture.to_dict(), "progress": dict(progress)}
    write_tensors(path, {**weights_of(network), **tensors}, about)


def load_state(path: Path, network: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Put weights and optimiser where `save_state` left them; return the progress.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged or of another network or optimiser.
    """
    tensors, about = read_tensors(path)
    state = optimizer.state_dict()
    try:
        network.load_state_dict(part_of(tensors, "model/"))
        for name, tensor in part_of(tensors, "optimizer/").items():
            parameter, key = name.split("/")
            state["state"].setdefault(int(parameter), {})[key] = tensor
        optimizer.load_state_dict(state)
        progress: dict[str, Any] = about["progress"]
    except (KeyError, RuntimeError, ValueError) as error:
        raise DamagedFileError(
            f"{path} is no checkpoint of this training run: {error}; remove it to begin again."
        ) from error
    return progress
