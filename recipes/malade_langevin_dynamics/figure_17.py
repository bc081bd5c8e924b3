"""Figure 17: the chain's steps on images attacked by PGD through it.

The paper finds these images weak, and those of figures 18 to 20 strong, and blames the gradient
through the chain: counted here on more images than are shown.
"""

from holdfast.reproduce import Claim, Result, Scale, less

from . import _networks as malade

MINUTES = {"quick": 0.1, "cpu": 15, "paper": 200}  # without the networks; cpu and paper: estimated

#: Test images (a) and (b).
IMAGES = (0, 1)


def recipe(scale: Scale) -> Result:
    eps = malade.linf(scale, 0.3)
    attacks = malade.adapted(malade.fixed(scale), (eps,), scale)
    return Result(
        malade.traces(IMAGES, scale, "plain"),
        [
            Claim(
                "PGD through the chain is not very strong, for its gradient is obfuscated; "
                "BPDAwEOT, whose gradient goes no further than the classifier, is strong.",
                "captions of figures 17 and 18",
                [
                    less(
                        attacks["BPDAwEOT"].at(eps),
                        attacks["PGD"].at(eps),
                        "at 0.3 BPDAwEOT leaves less than PGD with one draw a step",
                    )
                ],
                why="Every step of the chain is smooth, and its gradient exact. Where PGD through "
                "it is the stronger all the same, something else weakened the paper's; a clipped "
                "softmax makes the loss deaf, but does not do it here (table 1).",
            )
        ],
    )
