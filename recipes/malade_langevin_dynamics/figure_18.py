"""Figure 18: the chain's steps on images attacked by BPDAwEOT.

The images of figure 17; the paper finds them strong, since their gradients are not masked.
"""

from holdfast.reproduce import Result, Scale

from . import _networks as malade

MINUTES = {"quick": 0.1, "cpu": 5, "paper": 60}  # without the networks; cpu and paper: estimated

#: Test images (a) and (b).
IMAGES = (0, 1)


def recipe(scale: Scale) -> Result:
    return Result(malade.traces(IMAGES, scale, "bpda-eot"))
