"""A network of table 1, by all methods: what `table_1_mlp` and its like share."""

from collections.abc import Callable, Mapping

from holdfast.reproduce import Cell, Claim, Result, Scale, Step, Table, at_least, more

from . import _measures as measured
from . import _networks as dd

#: Accuracy, ρ₂, accuracy under FGS at 0.2, 0.5 and 1 ε_ref.
Printed = Mapping[str, tuple[float, float, float, float, float]]

METHODS: Mapping[str, Callable[[dd.Network, Scale], Step]] = {
    "Reference": dd.reference,
    "Par. Train": dd.parseval,
    "Adv. Train I": dd.adv_train_1,
    "Ours": dd.deep_defense,
}


def table(
    network: dd.Network, printed: Printed, scale: Scale, times: float, *, where: str | None = None
) -> Result:
    """The rows of one network, and what the paper says of them.

    Args:
        network: which.
        printed: its rows in the paper.
        scale: of the reproduction.
        times: how many times larger ρ₂ becomes, in the paper's words.
        where: they stand, if not in the section of the network's data.
    """
    nets = {method: make(network, scale) for method, make in METHODS.items()}
    unit = {}
    if network.conditioning is dd.AUTHORS:
        unit = {
            "Reference, [0, 1]": dd.reference(network, scale, dd.UNIT),
            "Ours, [0, 1]": dd.deep_defense(network, scale, dd.UNIT),
        }
    every = {**nets, **unit}
    margins = {k: measured.margin(net, network, scale, whole=True) for k, net in every.items()}
    fgs = {k: measured.fgs(net, network, scale) for k, net in every.items()}
    rho = {k: measured.rho(step) for k, step in margins.items()}
    accuracy = {k: measured.accuracy(step) for k, step in margins.items()}
    accuracies, distances = {}, {}
    for name, net in every.items():
        first, ours = (f"{k}, [0, 1]" if name in unit else k for k in ("Reference", "Ours"))
        numbers = printed.get(name)
        paper = [None] * 5 if numbers is None else [*numbers]
        accuracies[name] = {"clean": Cell(accuracy[name], paper[0])} | {
            column: Cell(measure, value)
            for (column, measure), value in zip(
                measured.at_reference(fgs[name], fgs[ours]), paper[2:], strict=True
            )
        }
        attacked = measured.rho_as_attack(measured.deepfool(net, network, scale))
        distances[name] = {
            "ρ₂, the authors' measure": Cell(rho[name], paper[1]),
            "times the reference": Cell(
                measured.Times(rho[name], rho[first]),
                None if paper[1] is None else paper[1] / printed["Reference"][1],
            ),
            "ρ₂, as an attack": Cell(attacked),
        }
    at_1 = {
        name: measured.AtReference(step, fgs["Ours"], 1.0)
        for name, step in fgs.items()
        if name in nets
    }
    others = [name for name in nets if name != "Ours"]
    section = "section 4.2" if network.data == "mnist" else "section 4.3"
    return Result(
        [
            Table(f"{network.name}: accuracy, clean and under FGS", accuracies, name="accuracy"),
            Table(f"{network.name}: ρ₂ under DeepFool", distances, unit="number", name="rho2"),
        ],
        [
            Claim(
                f"{network.name}: Deep Defense is the most robust to DeepFool.",
                section,
                [more(rho["Ours"], rho[name], f"ρ₂ above {name}'s") for name in others],
            ),
            Claim(
                f"{network.name}: it is {times:g} times as robust to DeepFool as the reference.",
                where or section,
                [
                    at_least(
                        measured.Times(rho["Ours"], rho["Reference"]),
                        times,
                        f"ρ₂ is at least {times:g} times the reference's",
                    )
                ],
                why="How far the ratio comes hangs on how long and on how many images reference "
                "and fine-tuning were trained: see what was reduced.",
            ),
            Claim(
                f"{network.name}: Deep Defense is the most robust to FGS at ε_ref.",
                "table 1",
                [more(at_1["Ours"], at_1[name], f"accuracy above {name}'s") for name in others],
            ),
            Claim(
                f"{network.name}: accuracy on clean images does not fall.",
                section,
                [at_least(accuracy["Ours"], accuracy["Reference"], "at least the reference's")],
            ),
        ],
        [
            "ε_ref is where FGS leaves half of the images to Deep Defense's network, of the same "
            "conditioning; between the sizes that were run it is interpolated. Where half of them "
            "are wrong without an attack there is none.",
            "The authors' measure of ρ₂: DeepFool without a box, at most five steps, from the "
            "predicted class also for misclassified images, over ‖x - mean image‖. As an attack: "
            "in the box, until it succeeds, 0 for misclassified images, over ‖x‖.",
            CONDITIONING[network.data],
            "Here weight decay takes biases too; the authors' code spares them.",
        ],
    )


CONDITIONING = {
    "mnist": "Rows without [0, 1] are of the authors' conditioning: images of 0 to 255 less the "
    "mean image, initial weights from N(0, 0.01²), their learning rates. Rows [0, 1] have torch's "
    "initial weights, and rates that suit such images.",
    "cifar10": "The authors' images are those of MatConvNet's example, normalised by image and "
    "whitened; here they are normalised by channel, so that the learning rates are ours.",
}
