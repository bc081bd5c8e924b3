"""Figure 4: ρ₂ against accuracy when the regulariser moves one layer alone, LeNet on MNIST.

Each curve is of one layer, its points of one c each; λ = 15, d = 5. The classification loss moves
all layers. ρ₂ is measured as the authors' code does.
"""

from holdfast.reproduce import Claim, Plane, Result, Scale, more

from . import _measures as measured
from . import _networks as dd

MINUTES = {"quick": 0.1, "cpu": 60, "paper": 60}  # cpu, paper: estimated

#: The modules behind the layer that centres the image; the digits' network has three layers.
LENET = {"conv1": "1.0", "conv2": "1.2", "fc1": "1.5", "fc2": "1.7"}
MLP = {"fc1": "1.1", "fc2": "1.3"}


def recipe(scale: Scale) -> Result:
    names = scale("layers", quick=tuple(MLP), cpu=tuple(LENET), paper=tuple(LENET))
    layers = MLP if names == tuple(MLP) else LENET
    cs = scale("c", quick=(25.0,), cpu=(5.0, 25.0), paper=(5.0, 15.0, 25.0, 35.0, 45.0))
    margins = {
        (layer, c): measured.margin(
            dd.deep_defense(dd.LENET, scale, c=c, layer=module, short=True), dd.LENET, scale
        )
        for layer, module in layers.items()
        for c in cs
    }
    rho = {at: measured.rho(step) for at, step in margins.items()}
    lines = {
        layer: {f"c = {c:g}": measured.both(margins[layer, c]) for c in cs} for layer in layers
    }
    return Result(
        [Plane("Figure 4", x="accuracy", y="ρ₂", lines=lines)],
        [
            Claim(
                "When one layer alone is regularised, fc1 achieves the best performance.",
                "section 4.2",
                [
                    more(rho["fc1", c], rho[layer, c], f"c = {c:g}: ρ₂ of fc1 above {layer}'s")
                    for layer in layers
                    if layer != "fc1"
                    for c in cs
                ],
            )
        ],
    )
