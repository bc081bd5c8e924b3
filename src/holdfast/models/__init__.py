"""Networks: the papers' architectures by name, and models from checkpoints and callables."""

from holdfast.models.deep_defense import MLP as MLP
from holdfast.models.deep_defense import NIN as NIN
from holdfast.models.deep_defense import ConvNet as ConvNet
from holdfast.models.deep_defense import LeNet as LeNet
from holdfast.models.eat import A as A
from holdfast.models.eat import B as B
from holdfast.models.eat import Bstar as Bstar
from holdfast.models.eat import C as C
from holdfast.models.eat import D as D
from holdfast.models.ensemble import Ensemble as Ensemble
from holdfast.models.madry import MadryCIFAR as MadryCIFAR
from holdfast.models.madry import MadryMNIST as MadryMNIST
from holdfast.models.malade import MaladeCNN as MaladeCNN
from holdfast.models.malade import MaladeDAE as MaladeDAE
from holdfast.models.normalize import Normalize as Normalize
from holdfast.models.registry import ARCHITECTURES as ARCHITECTURES
from holdfast.models.registry import DENOISERS as DENOISERS
from holdfast.models.registry import Architecture as Architecture
from holdfast.models.small import Small as Small
from holdfast.models.stn import STNCIFAR as STNCIFAR
