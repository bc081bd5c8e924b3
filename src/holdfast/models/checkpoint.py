"""A network on disk: model.safetensors, its weights with its architecture in the header.

Loading one executes nothing.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from holdfast.errors import DamagedFileError, MissingPackageError
from holdfast.files import StrPath, read_tensors, write_tensors
from holdfast.models.registry import Architecture

__all__ = ["load_model", "read_model", "save_model"]

MODEL = "model.safetensors"


def save_model(path: StrPath, network: nn.Module, architecture: Architecture) -> None:
    """Write a network's weights and architecture.

    Example:
        >>> from holdfast.models import Architecture
        >>> from holdfast.models.checkpoint import load_model, save_model
        >>> small = Architecture(name="small", shape=(1, 8, 8), classes=10)
        >>> save_model("model.safetensors", small.build(seed=0), small)
        >>> load_model("model.safetensors")(x).shape
        torch.Size([4, 10])
    """
    write_tensors(path, weights_of(network), {"architecture": architecture.to_dict()})


def is_ours(path: Path) -> bool:
    """Whether a file says that Holdfast wrote it, or cannot be read to know: of other weights no.

    Example:
        >>> from pathlib import Path
        >>> from safetensors.torch import save_file
        >>> from holdfast.models.checkpoint import is_ours
        >>> save_file({"weight": torch.ones(2)}, "net.safetensors")
        >>> is_ours(Path("net.safetensors"))
        False
    """
    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return "holdfast" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return True  # whoever reads it says what is wrong with it


def load_model(path: StrPath) -> nn.Module:
    """Build the network that `save_model` wrote, as `read_model` does.

    Example:
        >>> from holdfast.models import Architecture
        >>> from holdfast.models.checkpoint import load_model, save_model
        >>> small = Architecture(name="small", shape=(1, 8, 8), classes=10)
        >>> save_model("model.safetensors", small.build(seed=0), small)
        >>> load_model("model.safetensors").training
        False
    """
    return read_model(path)[0]


def read_model(path: StrPath) -> tuple[nn.Module, Architecture]:
    """Build the network that `save_model` wrote, in evaluation mode; say what it is.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged, or its weights do not fit its architecture.
        MissingPackageError: if it is a model of a library that is not installed.

    Example:
        >>> from holdfast.models import Architecture
        >>> from holdfast.models.checkpoint import read_model, save_model
        >>> small = Architecture(name="small", shape=(1, 8, 8), classes=10)
        >>> save_model("model.safetensors", small.build(seed=0), small)
        >>> network, architecture = read_model("model.safetensors")
        >>> architecture == small
        True
    """
    tensors, about = read_tensors(path)
    try:
        architecture = Architecture.from_dict(about["architecture"])
        network = built_with(architecture, part_of(tensors, "model/"))
    except MissingPackageError:
        raise
    except Exception as error:  # a stranger's file may make any step fail
        raise DamagedFileError(
            f"{path} does not hold the network that it says it holds: {str(error).rstrip('.')}."
        ) from error
    # The layout in memory that convolutions on a CPU are fastest in; the numbers are the same.
    return network.eval().to(memory_format=torch.channels_last), architecture


def built_with(architecture: Architecture, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network of an architecture, with weights of a file.

    A stranger's may say that it is of any size: memory is taken only once the weights are known to
    be of that size.

    Raises:
        RuntimeError: if the weights do not fit.
        InputError: if the architecture cannot be built.
    """
    with torch.device("meta"):  # shapes without numbers
        architecture.build().load_state_dict(weights, assign=True)
    network = architecture.build()
    network.load_state_dict(weights)
    return network


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """All weights and buffers under the names that a checkpoint gives them."""
    return {f"model/{name}": tensor for name, tensor in network.state_dict().items()}


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
