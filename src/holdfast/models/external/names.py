"""Models of other libraries, as the command line names them: torchvision/resnet18, timm/resnet18.

A name may carry parameters of the library's (`holdfast.specs`):
``torchvision/vit_b_16(image_size=32)``. The parameter ``weights`` is Holdfast's: with it the name
means the network with the weights that the library publishes under that word,
``torchvision/resnet18(weights='DEFAULT')``, which ``pretrained=True`` says too; without it, an
architecture.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from holdfast.errors import HoldfastError, InputError, unknown
from holdfast.models.external.library import Library, Published, does_not_fit
from holdfast.models.external.timm import TIMM
from holdfast.models.external.torchvision import TORCHVISION
from holdfast.models.shape import Shape
from holdfast.parameters import check
from holdfast.specs import parse, plain
from holdfast.tensors import eval_mode

LIBRARIES: Mapping[str, Library] = MappingProxyType({"torchvision": TORCHVISION, "timm": TIMM})

#: The networks that the papers use on ImageNet.
IMAGENET: Mapping[str, str] = MappingProxyType(
    {
        "torchvision/alexnet": "AlexNet, of Deep Defense's ImageNet experiments",
        "torchvision/resnet18": "ResNet-18, of Deep Defense's ImageNet experiments",
        "torchvision/inception_v3": "Inception v3, of EAT's ImageNet experiments",
        "timm/inception_v4": "Inception v4, of EAT's ImageNet experiments",
        "timm/inception_resnet_v2": "Inception-ResNet v2, of EAT's ImageNet experiments",
    }
)


@dataclass(frozen=True)
class LibraryModel:
    """What such a name says.

    Attributes:
        library: a key of ``LIBRARIES``.
        name: of the model, in its library.
        weights: the word for published weights; None for an architecture.
        parameters: for the library.
    """

    library: str
    name: str
    weights: str | None
    parameters: Mapping[str, Any]

    @classmethod
    def read(cls, spec: str) -> "LibraryModel | None":
        """Read a name; None if it does not begin with a library's.

        Raises:
            UnknownNameError: if the library has no such model.
            MissingPackageError: if the library is not installed.
            InputError: if the parameters cannot be read.
        """
        library, slash, _ = spec.partition("/")
        if not slash or library not in LIBRARIES:
            return None
        read = parse(spec, "model", f"{library}/resnet18(weights='DEFAULT')")
        name = read.name.removeprefix(f"{library}/")
        if not re.fullmatch(r"[\w.-]+", name):
            raise InputError(f"{spec!r} names no model; write {library}/resnet18.")
        _check_known(library, name)
        parameters = {key: plain(value) for key, value in read.parameters.items()}
        weights = parameters.pop("weights", None)
        if "pretrained" in parameters:  # as timm says it, and torchvision did
            pretrained = parameters.pop("pretrained")
            check("pretrained", pretrained, bool)
            if weights is not None:
                raise InputError(f"{spec!r} says weights and pretrained; leave one of them out.")
            weights = "DEFAULT" if pretrained else None
        return cls(library, name, None if weights is None else str(weights), parameters)

    def check_loadable(self) -> None:
        """Find out whether a file may give this name: a stranger's parameters execute nothing.

        Raises:
            InputError: if a parameter is none that shapes the network.
        """
        allowed = LIBRARIES[self.library].loadable
        for key, value in self.parameters.items():
            if key not in allowed:
                raise InputError(
                    f"{self.library}/{self.name} is given {key}={value!r}, but a checkpoint holds "
                    "only listed parameters that shape the network, such as a rate of dropout or "
                    "a size, so that loading it reads and executes nothing else; leave out "
                    f"{key}."
                )

    def build(self, shape: Shape, classes: int) -> nn.Module:
        """The architecture with fresh weights, for images of ``shape``.

        Raises:
            InputError: if a parameter is wrong, or images of this shape do not fit.
        """
        library = LIBRARIES[self.library]
        self._check_sizes("data")
        try:
            network = library.fresh(self.name, shape, classes, dict(self.parameters))
        except HoldfastError:
            raise
        except Exception as error:  # the library's code may raise anything
            raise self._wrong_parameters(error) from error
        try:
            with torch.no_grad(), eval_mode(network):
                network(torch.zeros(1, *shape))
        except (RuntimeError, AssertionError) as error:
            wanted = library.expects(self.name)
            raise does_not_fit(f"{self.library}/{self.name}", shape, wanted) from error
        return network

    def load(self, weights: str) -> Published:
        """The network with the weights that its library publishes, in evaluation mode.

        Raises:
            UnknownNameError: if there are no such weights.
            MissingFileError: if they are not there and cannot be downloaded.
            DamagedFileError: if their file is damaged.
            InputError: if a parameter is wrong.
        """
        self._check_sizes("weights")  # timm would draw a last layer of other sizes at random
        try:
            return LIBRARIES[self.library].published(self.name, weights, dict(self.parameters))
        except HoldfastError:
            raise
        except (TypeError, ValueError, AssertionError) as error:
            raise self._wrong_parameters(error) from error

    def _check_sizes(self, of: str) -> None:
        for key in self.parameters.keys() & {"num_classes", "in_chans"}:
            raise InputError(
                f"{self.library}/{self.name} is given {key}={self.parameters[key]!r}, but classes "
                f"and channels are those of the {of}; leave {key} out."
            )

    def _wrong_parameters(self, error: Exception) -> InputError:
        given = ", ".join(f"{key}={value!r}" for key, value in self.parameters.items())
        brief = " ".join(str(error).split())
        return InputError(
            f"{self.library} cannot make {self.name}({given}), it says: {brief}; "
            f"give the parameters that {self.library} documents for it, or none."
        )


def _check_known(library: str, name: str) -> None:
    """Raise unless the library has the model; timm's names may end in the tag of weights."""
    names: Iterable[str] = LIBRARIES[library].names()
    if name.partition(".")[0] not in names:
        raise unknown(f"model of {library}", name, names)
