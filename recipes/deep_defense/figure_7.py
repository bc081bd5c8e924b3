"""Figure 7: what DeepFool makes of the same images against each network, MLP and LeNet on MNIST.

Of the supplement. Above the image, in the middle what fools the network, below the difference,
magnified. The paper shows one image of a "0"; the fourth of MNIST's test images is one. Its numbers
below the pictures are lost in the text; the mean over more images stands in the table.
"""

import math

from holdfast.reproduce import Cell, Claim, Gallery, Result, Scale, Table, evaluate, more

from . import _measures as measured
from . import _networks as dd
from ._table_1 import METHODS

MINUTES = {"quick": 0.1, "cpu": 5, "paper": 1}  # cpu, paper: estimated

SHOWN = 8


def recipe(scale: Scale) -> Result:
    parts, rows, claims = [], {}, []
    for network in dd.several(
        scale, quick=(dd.MLP,), cpu=(dd.MLP, dd.LENET), paper=(dd.MLP, dd.LENET)
    ):
        rho = {}
        for name, make in METHODS.items():
            net = make(network, scale)
            fooled = evaluate(
                f"{net.name}-shown",
                model=net,
                attacks="deepfool",
                norm="l2",
                eps=math.inf,
                data=dd.data(network, scale),
                images=scale("images", quick=50, cpu=100, paper=100),
                keep_images=SHOWN,
            )
            parts.append(
                Gallery(
                    f"{network.name}, {name}",
                    fooled,
                    "deepfool",
                    math.inf,
                    name=f"{network.model}-{name.lower().replace('.', '').replace(' ', '-')}",
                )
            )
            rho[name] = measured.rho_as_attack(fooled)
            rows[f"{network.name}, {name}"] = {"‖Δ‖ / ‖x‖": Cell(rho[name])}
        claims.append(
            Claim(
                f"{network.name}: larger perturbations are needed to fool Deep Defense.",
                "supplement, section 3",
                [
                    more(rho["Ours"], rho[name], f"‖Δ‖ / ‖x‖ above {name}'s")
                    for name in METHODS
                    if name != "Ours"
                ],
                why="Those of Adv. Train I come near, and few images were asked, of networks "
                "that were trained on fewer than the paper's: see what was reduced.",
            )
        )
    return Result([*parts, Table("How far the images were moved", rows, unit="number")], claims)
