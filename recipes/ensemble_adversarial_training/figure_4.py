"""Figure 4: the loss around more images of the adversarially trained Inception v3."""

from holdfast.reproduce import Result, Scale

from . import _surfaces

MINUTES = {"quick": 0.2, "cpu": 30, "paper": 20}


def recipe(scale: Scale) -> Result:
    return Result(_surfaces.pictures("v3_adv", scale, first=3), notes=_surfaces.NOTES)
