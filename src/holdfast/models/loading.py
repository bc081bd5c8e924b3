"""Models as the command line names them: a training run, a checkpoint, or a Python callable."""

import hashlib
import importlib
import sys
from difflib import get_close_matches
from pathlib import Path

import torch
from torch import nn

from holdfast.errors import InputError, MissingFileError, ModelError
from holdfast.models.checkpoint import MODEL, load_model
from holdfast.models.registry import ARCHITECTURES


def load(spec: str) -> nn.Module:
    """Load a model: a checkpoint in evaluation mode, a callable's as the callable made it.

    Args:
        spec: the folder of a training run, a model.safetensors file, or
            ``package.module:callable``, which is called without arguments and returns a
            `torch.nn.Module` that maps images in [0, 1] to logits.

    Raises:
        MissingFileError: if there is no such folder or file.
        DamagedFileError: if the checkpoint is damaged.
        ModelError: if the callable cannot be imported or called, or returns no module.
        InputError: if ``spec`` is an architecture, which has no weights yet.
    """
    path = Path(spec)
    if path.is_dir():
        if not (path / MODEL).exists():
            raise MissingFileError(
                f"{path} holds no finished network: there is no {MODEL} in it; run the holdfast "
                "train command that made the folder again, and it will go on where it stopped."
            )
        return load_model(path / MODEL)
    if path.is_file():
        return load_model(path)
    if ":" in spec:
        return _call(spec)
    if spec in ARCHITECTURES:
        raise InputError(
            f"{spec} is an architecture without weights; train it with holdfast train --model "
            f"{spec}, then give the folder of that run."
        )
    beside = [other.name for other in path.parent.glob("*")]
    near = get_close_matches(path.name, beside, n=1)
    hint = f"did you mean {path.with_name(near[0])}? Or " if near else ""
    raise MissingFileError(
        f"there is no model {spec}: {hint}give the folder of a holdfast train run, a "
        "model.safetensors file, or package.module:callable."
    )


def _call(spec: str) -> nn.Module:
    module_name, _, name = spec.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does, so that a file in this folder is found
    try:
        target = getattr(importlib.import_module(module_name), name)
    except (ImportError, ValueError) as error:
        raise ModelError(
            f"{module_name!r} of --model {spec} cannot be imported: {error}."
        ) from error
    except AttributeError as error:
        raise ModelError(f"{module_name} has no {name!r}, which --model {spec} names.") from error
    try:
        model = target()
    except Exception as error:  # the user's code may raise anything
        raise ModelError(
            f"calling {spec} failed with {type(error).__name__}: {error}; it must take no "
            "arguments and return a torch.nn.Module."
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{spec} returned a {type(model).__name__}, but must return a torch.nn.Module."
        )
    return model


def fingerprint(model: nn.Module) -> str:
    """A hash of all weights and buffers, to tell whether two runs met the same network.

    Their names do not count, so a network behind a layer without weights, such as noise, is itself.
    """
    content = hashlib.sha256()
    for tensor in model.state_dict().values():
        content.update(str(tuple(tensor.shape)).encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        content.update(flat.view(torch.uint8).numpy().tobytes())
    return content.hexdigest()[:16]
