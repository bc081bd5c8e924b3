"""Architectures by name, for the command line and for checkpoints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import msgspec
import torch
from torch import Tensor, nn

from holdfast.errors import InputError, unknown
from holdfast.models.centred import Centred
from holdfast.models.deep_defense import MLP, NIN, ConvNet, LeNet
from holdfast.models.eat import A, B, Bstar, C, Ccode, D, Dcode
from holdfast.models.external.names import IMAGENET, LibraryModel
from holdfast.models.initial import gaussian, keras
from holdfast.models.layers import in_front, layers_and_network
from holdfast.models.madry import MadryCIFAR, MadryMNIST
from holdfast.models.malade import MaladeCNN, MaladeDAE
from holdfast.models.normalize import Normalize
from holdfast.models.shape import Shape
from holdfast.models.small import Small
from holdfast.models.stn import STNCIFAR
from holdfast.parameters import Seed

__all__ = ["Architecture"]

#: Classifiers: images to logits.
ARCHITECTURES: Mapping[str, Callable[[Shape, int], nn.Module]] = MappingProxyType(
    {
        "A": A,
        "B": B,
        "Bstar": Bstar,
        "C": C,
        "Ccode": Ccode,
        "D": D,
        "Dcode": Dcode,
        "madry-mnist": MadryMNIST,
        "madry-cifar10": MadryCIFAR,
        "stn-cifar10": STNCIFAR,
        "mlp": MLP,
        "lenet": LeNet,
        "convnet": ConvNet,
        "nin": NIN,
        "malade-cnn": MaladeCNN,
        "small": Small,
    }
)

#: Denoisers: images to images of the same shape.
DENOISERS: Mapping[str, Callable[[Shape], nn.Module]] = MappingProxyType({"malade-dae": MaladeDAE})

#: Whose hidden layers the authors' code draws by He's rule, where Keras' own is Glorot's.
_HE_NORMAL = frozenset({"D", "Dcode"})

Initial = Literal["keras", "gaussian"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All that is needed to build a network again, but for its weights.

    Attributes:
        name: a key of ``ARCHITECTURES`` or ``DENOISERS``, or a model of torchvision or timm, such
            as torchvision/resnet18 (`holdfast.models.external.names`); with layers in front if
            wanted, as in binarise(threshold=0.5) | A (`holdfast.models.layers`).
        shape: (C, H, W) of its images.
        classes: number K of classes; of the data, without consequence for a denoiser.
        normalized: whether a `Normalize` layer comes first, behind those of the name.
        init: how fresh weights are drawn: None, as the architecture says, which mostly is
            PyTorch's way; "keras": Glorot's uniform draw, He's normal one in the hidden layers
            of D, zero biases, as in EAT's code for MNIST (`holdfast.models.initial.keras`); or
            "gaussian": N(0, 0.01²), zero biases, as Deep Defense's networks for MNIST begin
            (`holdfast.models.initial.gaussian`).
        centred: whether a `Centred` layer comes first, behind those of the name.

    Example:
        >>> from holdfast.models import Architecture
        >>> architecture = Architecture(name="small", shape=(1, 8, 8), classes=10)
        >>> architecture.build(seed=0).eval()(x).shape
        torch.Size([4, 10])
        >>> Architecture.from_dict(architecture.to_dict()) == architecture
        True
    """

    name: str
    shape: Shape
    classes: int
    normalized: bool = False
    init: str | None = None
    centred: bool = False

    def __post_init__(self) -> None:
        if self.init is not None and self.init not in get_args(Initial):
            raise unknown("initial weights", self.init, get_args(Initial))
        if self.denoises and (self.normalized or self.centred):
            raise InputError(
                f"{self.name} is a denoiser, which makes images of images; it is not normalised."
            )
        if self.normalized and self.centred:
            raise InputError(
                "a network is normalised by the mean and deviation of each channel, or centred by "
                "the mean image, but not both; leave out one of them."
            )
        layers, network = layers_and_network(self.name)
        if layers and network in DENOISERS:
            raise InputError(
                f"{network} is a denoiser, but layers stand in front of classifiers; leave them "
                f"out of {self.name!r}."
            )
        if network in ARCHITECTURES or self.denoises:
            return
        model = LibraryModel.read(network)
        if model is None:
            same = [name for name in IMAGENET if name.partition("/")[2] == network]
            raise unknown("architecture", network, same or [*ARCHITECTURES, *DENOISERS])
        if model.weights is not None:
            raise InputError(
                f"{network} has its weights already, but an architecture is trained from fresh "
                "ones; leave out weights=."
            )

    @property
    def denoises(self) -> bool:
        """Whether this maps images to images of the same shape rather than to logits."""
        return self.name in DENOISERS

    def build(
        self,
        seed: Seed = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        *,
        mean_image: Tensor | None = None,
    ) -> nn.Module:
        """The network with fresh weights drawn from ``seed``, in training mode.

        Args:
            seed: of the initial weights.
            mean: of each channel, for a normalised network; 0 if the weights will be loaded.
            std: of each channel; 1 if the weights will be loaded.
            mean_image: (C, H, W), for a centred network; 0 if the weights will be loaded.

        Raises:
            InputError: if images of this shape do not fit.
        """
        layers, name = layers_and_network(self.name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self._fresh(name)
            if self.init == "keras":
                keras(network, hidden="he" if name in _HE_NORMAL else "glorot")
            elif self.init == "gaussian":
                gaussian(network)
        if self.normalized:
            channels = self.shape[0]
            first = Normalize(mean or [0.0] * channels, std or [1.0] * channels)
            network = nn.Sequential(first, network)
        if self.centred:
            image = torch.zeros(self.shape) if mean_image is None else mean_image
            network = nn.Sequential(Centred(image), network)
        return in_front(layers, network)

    def _fresh(self, name: str) -> nn.Module:
        if self.denoises:
            return DENOISERS[name](self.shape)
        model = LibraryModel.read(name)
        if model is not None:
            return model.build(self.shape, self.classes)
        return ARCHITECTURES[name](self.shape, self.classes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "Architecture":
        """From what `to_dict` gave, which may have come out of a stranger's file.

        Raises:
            InputError: if the entries do not describe an architecture, or give its library a
                parameter that no file may give.
        """
        try:
            architecture: Architecture = msgspec.convert(entries, cls)
        except msgspec.ValidationError as error:
            raise InputError(f"what it says describes no architecture: {error}.") from error
        architecture.check_loadable()
        return architecture

    def check_loadable(self) -> None:
        """Find out whether a checkpoint may hold this, so that it can be loaded again.

        Raises:
            InputError: if its library is given a parameter that no file may give.
        """
        model = LibraryModel.read(layers_and_network(self.name)[1])
        if model is not None:
            model.check_loadable()
