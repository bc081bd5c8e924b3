"""Weights that other programs saved: a state dict, ``.pt``, ``.pth`` or ``.safetensors``.

Such a file says numbers and no network, so the architecture is named with it:

    torchvision/resnet18(weights=net.pth)         small(weights=net.safetensors, shape=(1, 8, 8))

A network of the user's own is named with it as any callable is, `holdfast.built`.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from holdfast.errors import InputError
from holdfast.models.external.names import LIBRARIES, LibraryModel
from holdfast.models.registry import ARCHITECTURES
from holdfast.models.shape import Shape
from holdfast.parameters import check
from holdfast.specs import Spec, no_parameter, parse, plain
from holdfast.state_dicts import SUFFIXES, fill, outputs, read_weights

__all__ = ["FileOfWeights"]

_MEND = (
    "name the architecture that they were saved of, its images by shape=(C, H, W) and its classes=K"
)


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

        def built(classes: int) -> nn.Module:
            if model is not None:
                return model.build(sides, classes)
            return ARCHITECTURES[self.network](sides, classes)

        network = built(self.classes or outputs(built(2), weights) or 2)
        wrong = f"{self.path} does not hold weights of {self.network}"
        fill(network, weights, wrong, _MEND)
        return network.eval().to(memory_format=torch.channels_last)
