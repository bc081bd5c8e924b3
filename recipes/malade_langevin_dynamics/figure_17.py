"""Figure 17: the chain's steps on images attacked by PGD through it.

The paper finds these images weak, and blames masked gradients.
"""

from holdfast.reproduce import Result, Scale

from . import _networks as malade

MINUTES = {"quick": 0.1, "cpu": 5, "paper": 60}  # without the networks; cpu and paper: estimated

#: Test images (a) and (b).
IMAGES = (0, 1)


def recipe(scale: Scale) -> Result:
    return Result(malade.traces(IMAGES, scale, "plain"))
