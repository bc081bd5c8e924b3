"""Figure 1: the loss around an image of an adversarially trained network.

On x + ε₁ g + ε₂ g⊥: g the network's signed gradient, g⊥ that of another network from which examples
transfer. Where training masks the gradient, the loss bends away from it beside the image.
"""

from holdfast.reproduce import Result, Scale

from . import _surfaces

MINUTES = {"quick": 0.2, "cpu": 30, "paper": 10}


def recipe(scale: Scale) -> Result:
    return Result(_surfaces.pictures("v3_adv", scale, first=1), notes=_surfaces.NOTES)
