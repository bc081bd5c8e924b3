"""Figure 5: the success rate of FGS with varying ε, by all methods.

Of the supplement. An image that is wrong before counts as a success.
"""

from holdfast.reproduce import Claim, Curves, Line, Result, Scale, error, less

from . import _measures as measured
from . import _networks as dd
from ._table_1 import METHODS

MINUTES = {"quick": 0.1, "cpu": 60, "paper": 90}  # cpu, paper: estimated


def recipe(scale: Scale) -> Result:
    parts, claims = [], []
    for network in dd.several(scale, quick=(dd.MLP,), cpu=(dd.MLP, dd.LENET), paper=dd.NETWORKS):
        fgs = {
            name: measured.fgs(make(network, scale), network, scale)
            for name, make in METHODS.items()
        }
        sizes = measured.sizes(scale)
        parts.append(
            Curves(
                f"{network.name}: success rate of FGS",
                x="ε",
                y="success rate",
                lines=[
                    Line(name, [(eps, error(step, "fgsm", eps)) for eps in sizes])
                    for name, step in fgs.items()
                ],
                name=network.model,
            )
        )
        middle = sizes[len(sizes) // 3]
        claims.append(
            Claim(
                f"{network.name}: FGS succeeds least often against Deep Defense.",
                "supplement, section 1",
                [
                    less(
                        error(fgs["Ours"], "fgsm", middle),
                        error(step, "fgsm", middle),
                        f"at ε = {middle:g} less often than against {name}",
                    )
                    for name, step in fgs.items()
                    if name != "Ours"
                ],
            )
        )
    return Result(parts, claims)
