"""Tensors as safetensors, which hold numbers only: nothing is ever executed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from holdfast.errors import (
    DamagedFileError,
    MissingFileError,
    OutputError,
)
from holdfast.files.paths import StrPath, as_path, check_regular
from holdfast.files.records import check_levels
from holdfast.files.writing import replace_file

__all__ = ["read_tensors", "write_tensors"]


def write_tensors(path: StrPath, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-like record about them as one safetensors file.

    Raises:
        OutputError: if it cannot be written; an older file stays.

    Example:
        >>> from holdfast.files import read_tensors, write_tensors
        >>> write_tensors("a.safetensors", {"x": torch.ones(2)}, {"cell": 1})
        >>> read_tensors("a.safetensors")
        ({'x': tensor([1., 1.])}, {'cell': 1})
    """
    path = as_path(path)
    flat: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in tensors.items():
        flat[name] = tensor.detach().cpu().contiguous()
        place = flat[name].untyped_storage().data_ptr()
        if place in places:  # tied weights: a file holds no memory under two names
            flat[name] = flat[name].clone()
        places.add(place)
    header = {"holdfast": json.dumps(about, allow_nan=False)}

    def write(temporary: Path) -> None:
        temporary.touch()
        mode = temporary.stat().st_mode  # who may read it, as the user's umask has it
        save_file(flat, temporary, metadata=header)
        if temporary.stat().st_mode != mode:  # safetensors may leave its file to the owner alone
            temporary.chmod(mode)

    try:
        replace_file(path, write)
    except SafetensorError as error:
        raise OutputError(
            f"{path} could not be written ({error}); what was there before is unchanged."
        ) from error


def read_tensors(path: StrPath) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote. The format holds numbers only: nothing is ever executed.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged or was not written by Holdfast.

    Example:
        >>> from holdfast.files import read_tensors, write_tensors
        >>> write_tensors("a.safetensors", {"x": torch.ones(2)}, {"cell": 1})
        >>> read_tensors("a.safetensors")
        ({'x': tensor([1., 1.])}, {'cell': 1})
    """
    path = as_path(path)
    check_regular(path)
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {})["holdfast"]
            about = msgspec.json.decode(header, type=dict[str, Any])
            check_levels(about, path)
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except DamagedFileError:
        raise
    except (SafetensorError, msgspec.DecodeError, OSError, ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged or no safetensors file: {error}.") from error
    except KeyError as error:
        raise DamagedFileError(
            f"{path} was not written by Holdfast; to use other weights, name their architecture, "
            f"torchvision/resnet18(weights={path}), or write a function that builds the model and "
            "loads them, and give it as package.module:function."
        ) from error
