"""Figure 5: the loss around images of an adversarially trained network of MNIST."""

from holdfast.reproduce import Result, Scale

from . import _surfaces

MINUTES = {"quick": 0.2, "cpu": 30, "paper": 20}


def recipe(scale: Scale) -> Result:
    return Result(_surfaces.pictures("A_adv", scale, first=3), notes=_surfaces.NOTES)
