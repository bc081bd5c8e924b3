"""Figure 3: CIFAR-10, accuracy under S-O in ℓ2 and in ℓ∞.

Settings 3, 4 and 5 of table 1 on CIFAR-10, and PixelDP. The paper takes PixelDP's numbers from
Lecuyer et al.; here it is STN's network, trained on noisy images alone.
"""

from holdfast.reproduce import Cell, Claim, Curves, Line, Result, Scale, Table, accuracy, less, more

from . import _cifar as cifar
from . import _networks as so

MINUTES = {"quick": 0.4, "cpu": 30, "paper": 1500}  # cpu and paper: from _networks

NORMS = {"l2": "ℓ2", "linf": "ℓ∞"}


def recipe(scale: Scale) -> Result:
    found = {
        norm: {name: cifar.attacked(name, norm, scale) for name in cifar.NAMES} for norm in NORMS
    }
    figures = [
        Curves(
            f"S-O in {title}",
            x=f"{title} size of the attack",
            y="accuracy",
            lines=[
                Line(
                    name,
                    [(size, accuracy(step, so.S_O, size)) for size in cifar.sizes(norm, scale)],
                )
                for name, step in found[norm].items()
            ],
            name=norm,
        )
        for norm, title in NORMS.items()
    ]
    claims = [
        Claim(
            "STN obtains higher accuracy than Madry's model and PixelDP against "
            f"{title} attacks of {size:g}.",
            "section 6.2",
            [
                more(
                    accuracy(found[norm]["STN"], so.S_O, size),
                    accuracy(found[norm][other], so.S_O, size),
                    f"more than {other}",
                )
                for other in ("Madry", "PixelDP")
            ],
            why="The paper's PixelDP is Lecuyer et al.'s network and number; here the two are one "
            "network with the same noise, and differ in the objective alone.",
        )
        for norm, title in NORMS.items()
        for size in [cifar.sizes(norm, scale)[1]]
    ]
    l2 = cifar.sizes("l2", scale)[1]
    lead = Claim(
        "S-O leaves less of Madry's model than PGD, as on MNIST.",
        "section 7",
        [
            more(
                accuracy(found["l2"]["Madry"], so.PGD, l2),
                accuracy(found["l2"]["Madry"], so.S_O, l2),
                "5 points less in ℓ2",
                by=0.05,
            )
        ],
        why="On CIFAR-10 the loss of the trained network keeps its slope, and a gradient averaged "
        "over noise tells nothing that the gradient does not.",
    )
    # Whether what S-O leaves there is robust.
    suite = cifar.attacked("Madry", "l2", scale, [cifar.SUITE])
    on_madry = {
        f"{size:g}": {
            "PGD": Cell(accuracy(found["l2"]["Madry"], so.PGD, size)),
            "S-O": Cell(accuracy(found["l2"]["Madry"], so.S_O, size)),
            "the suite": Cell(accuracy(suite, cifar.SUITE, size)),
        }
        for size in cifar.sizes("l2", scale)
    }
    beyond = Claim(
        "(Ours.) Other attacks leave less of Madry's model than S-O does.",
        "-",
        [
            less(
                accuracy(suite, cifar.SUITE, l2),
                accuracy(found["l2"]["Madry"], so.S_O, l2),
                "the suite leaves less in ℓ2",
            )
        ],
    )
    return Result(
        [*figures, Table("Madry's model in ℓ2, accuracy in %", on_madry, name="suite")],
        [*claims, lead, beyond],
    )
