"""Figure 7: STN under every attack of the paper on CIFAR-10, in ℓ2 and ℓ∞.

From inside along the mean gradient over draws, from Madry's network, the second-order attack, and
the boundary attack, which sees decisions alone. That one looks for the nearest image that fools: it
runs once, without a limit, and counts at a size if what it found is no farther.
"""

from holdfast.reproduce import Result, Scale

from . import _attacks
from . import _networks as stn

MINUTES = {"quick": 0.5, "cpu": 35, "paper": 400}


def recipe(scale: Scale) -> Result:
    return _attacks.on(stn.CIFAR, scale, "Figure 7")
