"""Figure 2, left: the norm of the loss's exact gradient over the iterations of the attack.

Settings 1, 2 and 4 of table 1, and 3 besides. The gradient is the exact one at each iterate,
whatever the attack follows, and the mean is over all images, also those already fooled.
"""

from holdfast.reproduce import (
    Claim,
    Curves,
    Line,
    Result,
    Scale,
    Step,
    diagnose,
    gradient_norm,
    less,
    more,
)

from . import _networks as so

MINUTES = {"quick": 0.1, "cpu": 20, "paper": 320}  # cpu and paper: from _networks

#: From the image, as the paper's S-O begins; nothing stops, so that all images count to the end.
PGD = "pgd(random_start=False, early_stop=False)"
S_O = "second-order(early_stop=False)"
AT = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40)


def recipe(scale: Scale) -> Result:
    natural = [_traced("natural", so.natural(scale, seed), scale) for seed in so.seeds(scale)]
    madry = [_traced("madry", so.madry(scale, seed), scale) for seed in so.seeds(scale)]
    lines = {
        "1: natural, PGD": (natural, PGD),
        "2: Madry, PGD": (madry, PGD),
        "3: natural, S-O": (natural, S_O),
        "4: Madry, S-O": (madry, S_O),
    }
    return Result(
        [
            Curves(
                f"Mean ‖∇L‖₂ at ℓ2 {so.large(scale):g}",
                x="iteration",
                y="mean ‖∇L‖₂ over images",
                lines=[
                    Line(name, [(t, gradient_norm(steps, attack, t)) for t in AT])
                    for name, (steps, attack) in lines.items()
                ],
                unit="number",
                scale="log",
            )
        ],
        [
            Claim(
                "The gradient's norms on the adversarially trained model are much smaller than on "
                "the naturally trained one: adversarial training flattens the loss around images.",
                "section 6.2",
                [
                    less(
                        gradient_norm(madry, PGD),
                        gradient_norm(natural, PGD),
                        "smaller along PGD, on average over the iterations",
                    ),
                    less(
                        gradient_norm(madry, PGD, 0),
                        gradient_norm(natural, PGD, 0),
                        "smaller at the image itself",
                    ),
                ],
                why="At the image itself the loss of a natural network may be the flatter one, "
                "because it is surer of its answer; its gradient grows along the path.",
            ),
            Claim(
                "S-O finds adversarial examples of large loss more efficiently.",
                "section 6.2",
                [
                    more(
                        gradient_norm(madry, S_O),
                        gradient_norm(madry, PGD),
                        "the gradient along S-O is larger than along PGD, on Madry's network",
                    )
                ],
            ),
        ],
        notes=["The line of setting 3 is not in the paper's figure."],
    )


def _traced(name: str, network: Step, scale: Scale) -> Step:
    return diagnose(
        "gradient-norm",
        f"{name}-norms",
        model=network,
        data=so.data(scale),
        images=scale("images, traced", quick=50, cpu=100, paper=1000),
        norm="l2",
        eps=so.large(scale),
        attacks=[PGD, S_O],
    )
