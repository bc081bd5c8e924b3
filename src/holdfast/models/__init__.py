"""Networks: the papers' architectures by name, and models from checkpoints and callables."""

from holdfast.models.centred import Centred, centre_of, mean_image
from holdfast.models.deep_defense import MLP, NIN, ConvNet, LeNet
from holdfast.models.dropout import InputDropout
from holdfast.models.eat import A, B, Bstar, C, Ccode, D, Dcode
from holdfast.models.ensemble import Ensemble
from holdfast.models.madry import MadryCIFAR, MadryMNIST
from holdfast.models.malade import MaladeCNN, MaladeDAE
from holdfast.models.normalize import Normalize
from holdfast.models.registry import ARCHITECTURES, DENOISERS, Architecture
from holdfast.models.small import Small
from holdfast.models.stn import STNCIFAR

__all__ = [
    "ARCHITECTURES",
    "DENOISERS",
    "MLP",
    "NIN",
    "STNCIFAR",
    "A",
    "Architecture",
    "B",
    "Bstar",
    "C",
    "Ccode",
    "Centred",
    "ConvNet",
    "D",
    "Dcode",
    "Ensemble",
    "InputDropout",
    "LeNet",
    "MadryCIFAR",
    "MadryMNIST",
    "MaladeCNN",
    "MaladeDAE",
    "Normalize",
    "Small",
    "centre_of",
    "mean_image",
]
