"""Figure 2, middle: accuracy over the ℓ2 size, natural training and Madry's, under PGD and S-O.

Settings 1, 2 and 4 of table 1. S-O's lead is also set beside PGD with as many gradients. The claims
are judged over networks of several seeds, which the table shows one by one.
"""

from holdfast.reproduce import Cell, Claim, Curves, Line, Result, Scale, Table, accuracy, less

from . import _networks as so

MINUTES = {"quick": 0.05, "cpu": 75, "paper": 450}  # cpu and paper: from _networks


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
    natural += [so.on_natural(scale, seed, [size]) for seed in so.further_seeds(scale)]
    madry += [so.on_madry(scale, seed, [size]) for seed in so.further_seeds(scale)]
    by_seed = {
        f"seed {seed}": {
            "natural, PGD": Cell(accuracy(plain, so.PGD, size)),
            "natural, S-O": Cell(accuracy(plain, so.S_O, size)),
            "Madry, PGD": Cell(accuracy(trained, so.PGD, size)),
            "Madry, PGD of 10 restarts": Cell(accuracy(trained, so.PGD_RESTARTED, size)),
            "Madry, S-O": Cell(accuracy(trained, so.S_O, size)),
        }
        for seed, (plain, trained) in enumerate(zip(natural, madry, strict=True))
    }
    s_o = accuracy(madry, so.S_O, size)
    return Result(
        [figure, Table(f"Accuracy in %, ℓ2 {size:g}, network by network", by_seed, name="seeds")],
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
