"""State dicts that other programs saved, ``.pt``, ``.pth`` or ``.safetensors``, and a network.

Only numbers are read. A file that holds a whole pickled model could execute anything; it is refused
with how to make a state dict of it.
"""

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from holdfast.errors import DamagedFileError, MissingFileError
from holdfast.files import StrPath, as_path, check_regular

__all__ = ["SUFFIXES", "fill", "outputs", "read_weights"]

#: How files of a state dict are called.
SUFFIXES = (".pt", ".pth", ".safetensors", ".ckpt", ".bin", ".tar")

#: Where a checkpoint of a training keeps the network's weights, the most specific name first.
_WITHIN = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "last")

#: What later versions of torch count, and older files do not hold.
_COUNTER = "num_batches_tracked"


def read_weights(path: StrPath) -> dict[str, Tensor]:
    """The tensors of a state dict, or of the one within a training's checkpoint, by name.

    Args:
        path: a file of `torch.save`, or of safetensors.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged, or holds anything but numbers.

    Example:
        >>> from holdfast.state_dicts import read_weights
        >>> torch.save({"epoch": 3, "state_dict": model.state_dict()}, "net.pth")
        >>> sorted(read_weights("net.pth")) == sorted(model.state_dict())
        True
    """
    path = as_path(path)
    check_regular(path)
    if not path.is_file():
        raise MissingFileError(f"there is no file of weights {path}.")
    found: Any
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            _check_packed(path)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _whole_pickle(path, error) from error
    except Exception as error:  # a stranger's file may make any step fail
        if "TorchScript" in str(error):
            raise DamagedFileError(
                f"{path} is a TorchScript program and no state dict: give a function that returns "
                "torch.jit.load of it, as package.module:function."
            ) from error
        raise DamagedFileError(f"{path} is damaged or no file of weights: {error}.") from error
    for _ in range(3):  # within a checkpoint, and perhaps within a part of it
        if not isinstance(found, Mapping):
            break
        if found and all(isinstance(value, Tensor) for value in found.values()):
            return dict(found)
        inner = next((found[name] for name in _WITHIN if name in found), None)
        found = inner
    raise DamagedFileError(
        f"{path} holds no state dict: save model.state_dict(), tensors by their names, alone or as "
        f"{_WITHIN[0]!r} of a checkpoint."
    )


def _check_packed(path: Path) -> None:
    """torch.save packs and does not compress: what is compressed may be of any size once read."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            if any("/code/" in name for name in packed.namelist()):
                raise ValueError("it is TorchScript")  # which does compress
            size = sum(entry.file_size for entry in packed.infolist())
        if size > path.stat().st_size:
            raise ValueError(f"it is compressed, and holds {size:,} bytes")


def _whole_pickle(path: Path, error: Exception) -> DamagedFileError:
    """The error for a file that loading would execute."""
    made = path.with_name(f"{path.stem}-weights.pth")
    text = str(error)
    if "GLOBAL" not in text and "Unsupported" not in text:
        return DamagedFileError(f"{path} is damaged or no file of weights.")
    return DamagedFileError(
        f"{path} is a pickle of more than numbers, such as a whole model, and loading it executes "
        "what its maker wrote: ask for its state dict, or, only if you trust it, make one where "
        "nothing can be harmed, python -c \"import torch; torch.save(torch.load('"
        f"{path}', weights_only=False, map_location='cpu').state_dict(), '{made}')\"."
    )


def fill(network: nn.Module, weights: Mapping[str, Tensor], wrong: str, mend: str) -> None:
    """Load weights by their names, whatever prefix a wrapper gave all of them.

    Args:
        network: changed in place.
        weights: of `read_weights`.
        wrong: how an error's message begins, "net.pth does not hold weights of small".
        mend: and how it ends, "name the architecture".

    Raises:
        DamagedFileError: if names or shapes are others.

    Example:
        >>> from holdfast.state_dicts import fill
        >>> twin = torch.nn.Linear(2, 3)
        >>> fill(twin, {"module.weight": torch.ones(3, 2), "module.bias": torch.zeros(3)}, "", "")
        >>> twin(torch.ones(1, 2)).tolist()
        [[2.0, 2.0, 2.0]]
    """
    own = network.state_dict()
    short, given = _without_prefixes(own, weights)
    unknown = [name for name in given if name not in short and not name.endswith(_COUNTER)]
    missing = [name for name in short if name not in given and not name.endswith(_COUNTER)]
    if unknown or missing:
        raise DamagedFileError(
            f"{wrong}: {_some(missing, 'is missing')}{' and ' if missing and unknown else ''}"
            f"{_some(unknown, 'is none of its')}; {mend}."
        )
    for name, tensor in given.items():
        if name in short and own[short[name]].shape != tensor.shape:
            raise DamagedFileError(
                f"{wrong}: {name} has shape {tuple(tensor.shape)} and should have "
                f"{tuple(own[short[name]].shape)}; {mend}."
            )
        if name in short and own[short[name]].is_floating_point() > tensor.is_floating_point():
            raise DamagedFileError(
                f"{wrong}: {name} holds whole numbers, {tensor.dtype}, as quantised weights do, "
                f"and should be {own[short[name]].dtype}; {mend}."
            )
    network.load_state_dict({short[n]: t for n, t in given.items() if n in short}, strict=False)


def outputs(network: nn.Module, weights: Mapping[str, Tensor]) -> int:
    """Outputs of a network's last layer by what these weights hold for it; 0 if they hold nothing.

    The order is the network's: a file of safetensors has one of its own.

    Args:
        network: of any number of outputs.
        weights: of `read_weights`.

    Example:
        >>> from torch import nn
        >>> from holdfast.state_dicts import outputs
        >>> given = {"2.weight": torch.ones(5, 3), "0.weight": torch.ones(3, 2)}
        >>> outputs(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 9)), given)
        5
    """
    short, given = _without_prefixes(network.state_dict(), weights)
    last = [given[name] for name in short if name in given and given[name].dim()]
    return len(last[-1]) if last else 0


def _without_prefixes(
    own: Iterable[str], weights: Mapping[str, Tensor]
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """A network's names by what they are without a shared prefix, and weights by such names."""
    own, given = list(own), dict(weights)
    prefix = _prefix(own)
    short = {name.removeprefix(prefix): name for name in own}
    if not short.keys() & given.keys():
        theirs = _prefix(given)
        given = {name.removeprefix(theirs): tensor for name, tensor in given.items()}
    return short, given


def _some(names: list[str], what: str) -> str:
    more = f" (of {len(names)})" if len(names) > 1 else ""
    return f"{names[0]}{more} {what}" if names else ""


def _prefix(names: Iterable[str]) -> str:
    """What all names begin with, up to a dot: "module." of DataParallel."""
    names = list(names)
    shared = ""
    while names:
        head = names[0].removeprefix(shared).partition(".")
        longer = f"{shared}{head[0]}."
        if not head[1] or not all(name.startswith(longer) for name in names):
            break
        shared = longer
    return shared
