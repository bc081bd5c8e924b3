"""Checkpoints: safetensors files with a JSON record in their header.

``checkpoint.safetensors`` holds all that training needs to go on: weights, optimiser, and in its
record the architecture, the step and what has been logged. There are no random states to keep,
since every draw is keyed by (seed, purpose, step). ``model.safetensors`` holds the finished weights
and their architecture. Loading either executes nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from holdfast.errors import DamagedFileError, InputError
from holdfast.files import read_tensors, write_tensors
from holdfast.models.registry import Architecture

CHECKPOINT, MODEL = "checkpoint.safetensors", "model.safetensors"


def save_model(path: Path, network: nn.Module, architecture: Architecture) -> None:
    """Write a network's weights and architecture."""
    write_tensors(path, _named(network), {"architecture": architecture.to_dict()})


def load_model(path: Path) -> nn.Module:
    """Build the network that `save_model` or `save_state` wrote, in evaluation mode.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged, or its weights do not fit its architecture.
    """
    tensors, about = read_tensors(path)
    try:
        network = Architecture.from_dict(about["architecture"]).build()
        network.load_state_dict(_part(tensors, "model/"))
    except (KeyError, RuntimeError, InputError, LookupError) as error:
        raise DamagedFileError(
            f"{path} does not hold the network that it says it holds: {error}."
        ) from error
    # The layout in memory that convolutions on a CPU are fastest in; the numbers are the same.
    return network.eval().to(memory_format=torch.channels_last)


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
    write_tensors(path, {**_named(network), **tensors}, about)


def load_state(path: Path, network: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Put weights and optimiser where `save_state` left them; return the progress.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged or of another network or optimiser.
    """
    tensors, about = read_tensors(path)
    state = optimizer.state_dict()
    try:
        network.load_state_dict(_part(tensors, "model/"))
        for name, tensor in _part(tensors, "optimizer/").items():
            parameter, key = name.split("/")
            state["state"].setdefault(int(parameter), {})[key] = tensor
        optimizer.load_state_dict(state)
        progress: dict[str, Any] = about["progress"]
    except (KeyError, RuntimeError, ValueError) as error:
        raise DamagedFileError(
            f"{path} is no checkpoint of this training run: {error}; remove it to begin again."
        ) from error
    return progress


def _named(network: nn.Module) -> dict[str, Tensor]:
    return {f"model/{name}": tensor for name, tensor in network.state_dict().items()}


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
