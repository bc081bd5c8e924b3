"""Weights that other programs saved: a state dict, ``.pt``, ``.pth`` or ``.safetensors``.

Such a file says numbers and no network, so the architecture is named with it:

    torchvision/resnet18(weights=net.pth)         small(weights=net.safetensors, shape=(1, 8, 8))

Only numbers are read. A file that holds a whole pickled model could execute anything; it is refused
with how to make a state dict of it.
"""

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from holdfast.errors import DamagedFileError, InputError, MissingFileError
from holdfast.files import check_regular
from holdfast.models.external.names import LIBRARIES, LibraryModel
from holdfast.models.registry import ARCHITECTURES
from holdfast.models.shape import Shape
from holdfast.parameters import check
from holdfast.specs import Spec, no_parameter, parse, plain

__all__ = ["FileOfWeights", "read_weights"]

#: How files of a state dict are called.
SUFFIXES = (".pt", ".pth", ".safetensors", ".ckpt", ".bin", ".tar")

#: Where a checkpoint of a training keeps the network's weights, the most specific name first.
_WITHIN = ("state_dict", "model_state_dict", "model", "net", "network", "weights")

#: What later versions of torch count, and older files do not hold.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class FileOfWeights:
    """An architecture, and the file that its weights are in.

    Attributes:
        network: the architecture's spec, without ``weights``, ``shape`` and ``classes``.
        path: of the file.
        shape: (C, H, W) of the images; None for those that it is to be used on.
        classes: number K of classes; None for as many as the weights' last layer has.

    Example:
        >>> from holdfast.models.weights import FileOfWeights
        >>> written = FileOfWeights.read("small(weights=net.pth, shape=(1, 8, 8))")
        >>> written.network, written.path.name, written.shape
        ('small', 'net.pth', (1, 8, 8))
    """

    network: str
    path: Path
    shape: tuple[int, ...] | None = None
    classes: int | None = None

    @classmethod
    def read(cls, spec: str) -> "FileOfWeights | None":
        """Read a model's spec; None if it names no file of weights.

        Raises:
            InputError: if the spec cannot be read.
        """
        name, bracket, _ = spec.partition("(")
        if not bracket or not (name in ARCHITECTURES or name.partition("/")[0] in LIBRARIES):
            return None
        read = parse(spec, "model", "small(weights=net.pth)")
        given = {key: plain(value) for key, value in read.parameters.items()}
        file = given.pop("weights", None)
        if not isinstance(file, str) or not file.endswith(SUFFIXES):
            return None
        shape, classes = given.pop("shape", None), given.pop("classes", None)
        check("classes", classes, int | None)
        if shape is not None:
            shape = tuple(shape) if isinstance(shape, list | tuple) else shape
            check("shape", shape, tuple[int, int, int])
        if given and name in ARCHITECTURES:
            raise no_parameter(f"model {name}", next(iter(given)), ("weights", "shape", "classes"))
        rest = ", ".join(
            f"{key}={value.text if isinstance(value, Spec) else repr(value)}"
            for key, value in read.parameters.items()
            if key in given
        )
        return cls(f"{name}({rest})" if rest else name, Path(file), shape, classes)

    def fitting(self, shape: tuple[int, ...] | None) -> "FileOfWeights":
        """The same for images of ``shape``, unless it says one itself."""
        return self if self.shape is not None else replace(self, shape=shape)

    def load(self) -> nn.Module:
        """The network with these weights, in evaluation mode.

        Raises:
            MissingFileError: if there is no such file.
            DamagedFileError: if it is no state dict, or not of this architecture.
            InputError: if the shape of the images is not known.
        """
        weights = read_weights(self.path)
        model = LibraryModel.read(self.network)
        shape = self.shape
        if shape is None and model is not None:
            shape = LIBRARIES[model.library].expects(model.name)
        if shape is None:
            raise InputError(
                f"what {self.network} is depends on the images: say their (channels, height, "
                f"width), {self.network}(weights={self.path}, shape=(1, 28, 28))."
            )
        channels, height, width = shape
        sides: Shape = (channels, height, width)
        classes = self.classes or _classes(weights)
        if model is not None:
            network = model.build(sides, classes)
        else:
            network = ARCHITECTURES[self.network](sides, classes)
        _fill(network, weights, f"{self.path} does not hold weights of {self.network}")
        return network.eval().to(memory_format=torch.channels_last)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, or of the one within a training's checkpoint, by name.

    Args:
        path: a file of `torch.save`, or of safetensors.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged, or holds anything but numbers.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.models.weights import read_weights
        >>> torch.save({"epoch": 3, "state_dict": model.state_dict()}, "net.pth")
        >>> sorted(read_weights(Path("net.pth"))) == sorted(model.state_dict())
        True
    """
    check_regular(path)
    if not path.is_file():
        raise MissingFileError(f"there is no file of weights {path}.")
    found: Any
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
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


def _classes(weights: Mapping[str, Tensor]) -> int:
    """Outputs of the last layer: the last weight or bias in the order of the layers."""
    last = [tensor for tensor in weights.values() if tensor.dim()]
    return len(last[-1]) if last else 0


def _fill(network: nn.Module, weights: Mapping[str, Tensor], wrong: str) -> None:
    """Load weights by their names, whatever prefix a wrapper gave all of them.

    Raises:
        DamagedFileError: if names or shapes are others.
    """
    own, given = network.state_dict(), dict(weights)
    prefix = _prefix(own)
    short = {name.removeprefix(prefix): name for name in own}
    theirs = _prefix(given)
    if not short.keys() & given.keys():
        given = {name.removeprefix(theirs): tensor for name, tensor in given.items()}
    unknown = [name for name in given if name not in short and not name.endswith(_COUNTER)]
    missing = [name for name in short if name not in given and not name.endswith(_COUNTER)]
    if unknown or missing:
        raise DamagedFileError(
            f"{wrong}: {_some(missing, 'is missing')}{' and ' if missing and unknown else ''}"
            f"{_some(unknown, 'is none of its')}; name the architecture that they were saved of."
        )
    for name, tensor in given.items():
        if name in short and own[short[name]].shape != tensor.shape:
            raise DamagedFileError(
                f"{wrong}: {name} has shape {tuple(tensor.shape)} and should have "
                f"{tuple(own[short[name]].shape)}; name the architecture that they were saved of, "
                "its images by shape=(C, H, W) and its classes=K."
            )
    network.load_state_dict({short[n]: t for n, t in given.items() if n in short}, strict=False)


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
