"""Figure 8: accuracy and ρ₂ over the epochs of fine-tuning, ConvNet and NIN on CIFAR-10.

Of the supplement. Epoch 0 is the reference. ρ₂ is measured as the authors' code does.
"""

from holdfast.reproduce import Claim, Curves, Result, Scale, more

from . import _convergence as over
from . import _networks as dd

MINUTES = {"quick": 0.1, "cpu": 45, "paper": 60}  # paper: estimated


def recipe(scale: Scale) -> Result:
    parts: list[Curves] = []
    claims = []
    for network in dd.several(
        scale, quick=(dd.CONVNET,), cpu=(dd.CONVNET,), paper=(dd.CONVNET, dd.NIN)
    ):
        steps = over.followed(network, scale)
        parts += over.curves(network, steps, scale)
        last = dd.epochs(network, scale)
        claims.append(
            Claim(
                f"{network.name}: in the end Deep Defense's ρ₂ and accuracy are the largest.",
                "table 1",
                [
                    more(
                        over.at(steps["Ours"], last, column),
                        over.at(steps[other], last, column),
                        f"{what} above {other}'s",
                    )
                    for other in ("Clean", "Par. Train", "Adv. Train I")
                    for column, what in (("right", "accuracy"), ("relative", "ρ₂"))
                ],
                why="Accuracies that differ by a point cannot be told by so few images, of short "
                "trainings; ρ₂ can.",
            )
        )
    return Result(parts, claims)
