"""Figure 2, middle: accuracy over the ℓ2 size, natural training and Madry's, under PGD and S-O.

Settings 1, 2 and 4 of table 1. S-O's lead is also set beside PGD with as many gradients.
"""

from holdfast.reproduce import Claim, Curves, Line, Result, Scale, accuracy, less

from . import _networks as so

MINUTES = {"quick": 0.05, "cpu": 32, "paper": 450}  # cpu and paper: from _networks


def recipe(scale: Scale) -> Result:
    natural = [so.on_natural(scale, seed) for seed in so.seeds(scale)]
    madry = [so.on_madry(scale, seed) for seed in so.seeds(scale)]
    lines = {
        "1: natural, PGD": (natural, so.PGD),
        "2: Madry, PGD": (madry, so.PGD),
        "2: Madry, PGD of 10 restarts": (madry, so.PGD_RESTARTED),
        "4: Madry, S-O": (madry, so.S_O),
        "4: Madry, S-O, σ = 0.15": (madry, so.FIXED),
    }
    figure = Curves(
        "Accuracy under PGD and S-O",
        x="ℓ2 size of the attack",
        y="accuracy",
        lines=[
            Line(name, [(size, accuracy(steps, attack, size)) for size in so.sizes(scale)])
            for name, (steps, attack) in lines.items()
        ],
    )
    size = so.large(scale)
    s_o = accuracy(madry, so.S_O, size)
    return Result(
        [figure],
        [
            Claim(
                "S-O dramatically reduces the accuracy of Madry's model compared to PGD.",
                "section 6.2",
                [
                    less(s_o, accuracy(madry, so.PGD, size), "20 points below PGD", by=0.2),
                    less(
                        s_o,
                        accuracy(madry, so.PGD_RESTARTED, size),
                        "20 points below PGD with as many gradients",
                        by=0.2,
                    ),
                ],
                why="What S-O gains hangs on the network: it is much where PGD in ℓ∞ has flattened "
                "the loss, and nothing on networks that it has not (CIFAR-10, figure 3).",
            ),
            Claim(
                "The resulting accuracy is even worse than that of the natural baseline.",
                "section 6.2",
                [
                    less(s_o, accuracy(natural, so.PGD, size), "below natural training under PGD"),
                    less(s_o, accuracy(natural, so.S_O, size), "below natural training under S-O"),
                ],
                why="The paper compares Madry's network under S-O with the natural one under PGD. "
                "Whether it is worse hangs on the network and on the size.",
            ),
        ],
    )
