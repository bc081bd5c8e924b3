"""Figure 19: the chain's steps on more images attacked by BPDAwEOT.

The paper shows figures 18 to 20 under one caption; which images it shows is not said.
"""

from holdfast.reproduce import Result, Scale

from . import _networks as malade

MINUTES = {"quick": 0.1, "cpu": 5, "paper": 60}  # without the networks; cpu and paper: estimated

#: Test images (a) and (b).
IMAGES = (2, 3)


def recipe(scale: Scale) -> Result:
    return Result(malade.traces(IMAGES, scale, "bpda-eot"))
