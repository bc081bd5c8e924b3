"""What is looked at: everything of Holdfast that the parts name, and the networks and images.

The networks that are compared compute in float64. Its rounding errors of 1e-16 stay below 1e-6
even after hundreds of steps that enlarge them, whereas a wrong draw, mask or index moves a pixel or
a gradient by far more; in float32 rounding itself turns the sign of a small gradient, and a
comparison of images would have to allow everything.
"""

import torch
from torch import Tensor, nn

from holdfast import L2 as L2
from holdfast import EvaluationConfig as EvaluationConfig
from holdfast import Linf as Linf
from holdfast import attacks as attacks
from holdfast import certify as certify
from holdfast import data as data
from holdfast import defenses as defenses
from holdfast import evaluate as evaluate
from holdfast import training as training
from holdfast.models import ARCHITECTURES as ARCHITECTURES
from holdfast.models import DENOISERS as DENOISERS
from holdfast.models import Architecture as Architecture
from holdfast.models.loading import load as load
from holdfast.random import Stream as Stream
from holdfast.random import drawing_from as drawing_from
from holdfast.training import fit as fit
from tests import cases as cases
from tests.toys import images as images
from tests.toys import small_network as small_network

#: What rounding in float64 may come to by the end of an iteration.
ROUNDING = 1e-6

#: Sizes of a ball on the toys: large enough that every attack moves, and most fool.
EPS = {"linf": 0.15, "l2": 0.9, "l1": 5.0, "l0": 20.0}


def toy(count: int = 8) -> tuple[nn.Module, Tensor, Tensor]:
    """A network of unknown boundary in float64, images, and the classes that it gives them."""
    network = small_network().double()
    x = images(count, margin=0.05).double()
    return network, x, network(x).argmax(dim=1)


def denoiser() -> nn.Module:
    """Images to images of the same shape, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Sigmoid()).double().eval()


def digits(limit: int) -> data.Data:
    """Training images of the digits."""
    return data.load("digits", "train", limit=limit)
