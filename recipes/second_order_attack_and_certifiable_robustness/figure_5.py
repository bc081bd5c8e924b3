"""Figure 5: S-O beside C&W on MNIST, over the ℓ2 size.

Both on Madry's network. C&W looks for the nearest image that fools; at each size stands what lies
farther than that. With S-O's gradient, an average over noise, it is C&W of the second kind.
"""

import math

from holdfast.reproduce import Claim, Curves, Line, Result, Scale, accuracy, accuracy_within, less

from . import _networks as so

MINUTES = {"quick": 0.1, "cpu": 56, "paper": 700}  # cpu and paper: from _networks


def recipe(scale: Scale) -> Result:
    steps = scale("steps of C&W", quick=10, cpu=100, paper=1000)
    plain = f"carlini-wagner(steps={steps})"
    averaged = f"carlini-wagner(steps={steps}, gradient=average(samples=10, noise=0.15))"
    networks = [so.madry(scale, seed) for seed in so.seeds(scale)]
    nearest = [
        so.attacked("c&w", network, [plain, averaged], scale, eps=[math.inf])
        for network in networks
    ]
    s_o = [so.on_madry(scale, seed) for seed in so.seeds(scale)]
    lines = [
        Line("S-O", [(r, accuracy(s_o, so.S_O, r)) for r in so.sizes(scale)]),
        Line("S-O, σ = 0.15", [(r, accuracy(s_o, so.FIXED, r)) for r in so.sizes(scale)]),
        Line("C&W", [(r, accuracy_within(nearest, r, "l2", plain)) for r in so.sizes(scale)]),
        Line(
            "C&W with a gradient averaged over noise",
            [(r, accuracy_within(nearest, r, "l2", averaged)) for r in so.sizes(scale)],
        ),
    ]
    size = so.large(scale)
    return Result(
        [
            Curves(
                "Madry's network under S-O and C&W",
                x="ℓ2 size of the attack",
                y="accuracy",
                lines=lines,
            )
        ],
        [
            Claim(
                "S-O leaves less of Madry's model than C&W.",
                "appendix E",
                [
                    less(
                        accuracy(s_o, attack, size),
                        accuracy_within(nearest, size, "l2", plain),
                        f"{words} leaves less at {size:g}",
                    )
                    for attack, words in ((so.S_O, "S-O"), (so.FIXED, "S-O with σ = 0.15"))
                ],
                why="C&W of few steps leaves more than PGD does. With nine times 200 it leaves "
                "less, and still far more than S-O (sigma.md).",
                safe=True,
            )
        ],
    )
