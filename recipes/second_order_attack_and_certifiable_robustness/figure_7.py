"""Figure 7: images that S-O fools Madry's network with, at ℓ2 size 2.0.

Above the image, in the middle what S-O made of it, below the difference, magnified. The paper's
seven are 5, 9, 7, 3, 4, 9, 6, seen as 3, 4, 2, 8, 9, 4, 5.
"""

from holdfast.reproduce import Claim, Gallery, Result, Scale, accuracy, at_most

from . import _networks as so

MINUTES = {"quick": 0.05, "cpu": 16, "paper": 310}  # cpu and paper: from _networks


def recipe(scale: Scale) -> Result:
    size = so.large(scale)
    attacked = so.attacked(
        "kept",
        so.madry(scale),
        [so.S_O],
        scale,
        eps=[size],
        images=scale("images", quick=50, cpu=50, paper=50),
        keep_images=50,
    )
    return Result(
        [Gallery("Adversarial examples", attacked, so.S_O, size)],
        [
            Claim(
                "The adversarially trained model gives false predictions for randomly selected "
                "images.",
                "appendix G",
                [at_most(accuracy(attacked, so.S_O, size), 0.5, "half of 50 images are wrong")],
                safe=True,
            )
        ],
    )
