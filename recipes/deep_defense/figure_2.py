"""Figure 2: accuracy and ρ₂ over the epochs of fine-tuning, MLP and LeNet on MNIST.

Epoch 0 is the reference. ρ₂ is measured as the authors' code does; of LeNet on fewer images.
"""

from holdfast.reproduce import Claim, Curves, Result, Scale, more

from . import _convergence as over
from . import _networks as dd

MINUTES = {"quick": 0.1, "cpu": 30, "paper": 5}  # cpu, paper: estimated


def recipe(scale: Scale) -> Result:
    parts: list[Curves] = []
    claims = []
    for network in dd.several(
        scale, quick=(dd.MLP,), cpu=(dd.MLP, dd.LENET), paper=(dd.MLP, dd.LENET)
    ):
        steps = over.followed(network, scale)
        parts += over.curves(network, steps, scale)
        last = dd.epochs(network, scale)
        early = scale("epochs until it is ahead", quick=3, cpu=3, paper=3)
        ours, examples = steps["Ours"], steps["Adv. Train I"]
        claims += [
            Claim(
                f"{network.name}: in three epochs Deep Defense surpasses the reference in both.",
                "section 4.2",
                [
                    more(
                        over.at(ours, early, column), over.at(ours, 0, column), f"{what} is larger"
                    )
                    for column, what in (("right", "accuracy"), ("relative", "ρ₂"))
                ],
                why="Accuracies half a percent apart cannot be told by so few images; ρ₂, a mean "
                "over them, can.",
            ),
            Claim(
                f"{network.name}: its ρ₂ and accuracy keep growing in the last two epochs.",
                "section 4.2",
                [
                    more(
                        over.at(ours, last, column),
                        over.at(ours, early, column),
                        f"{what} is larger in the end than after three epochs",
                    )
                    for column, what in (("right", "accuracy"), ("relative", "ρ₂"))
                ],
            ),
            Claim(
                f"{network.name}: with Adv. Train I accuracy grows and ρ₂ decreases.",
                "section 4.2",
                [
                    more(
                        over.at(examples, last, "right"),
                        over.at(examples, 1, "right"),
                        "accuracy is larger in the end than after one epoch",
                    ),
                    more(
                        over.at(examples, 1, "relative"),
                        over.at(examples, last, "relative"),
                        "ρ₂ is smaller in the end than after one epoch",
                    ),
                ],
                why="ρ₂ hardly moves in either direction, and accuracy by less than the images "
                "that were asked can tell. The paper shows the curves of one training, "
                "without intervals.",
            ),
        ]
    return Result(parts, claims)
