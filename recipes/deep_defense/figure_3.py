"""Figure 3: ρ₂ against accuracy with varying λ and c, LeNet on MNIST.

Each curve is of one λ, its points of one c each; d = 5. ρ₂ is measured as the authors' code does.
"""

from holdfast.reproduce import Claim, Plane, Result, Scale, more

from . import _measures as measured
from . import _networks as dd

MINUTES = {"quick": 0.1, "cpu": 60, "paper": 90}  # cpu, paper: estimated


def recipe(scale: Scale) -> Result:
    weights = scale("λ", quick=(5.0, 25.0), cpu=(5.0, 25.0), paper=(5.0, 15.0, 25.0))
    cs = scale(
        "c",
        quick=(5.0, 45.0),
        cpu=(5.0, 25.0, 45.0),
        paper=tuple(5.0 * place for place in range(1, 10)),
    )
    margins = {
        (weight, c): measured.margin(
            dd.deep_defense(dd.LENET, scale, weight=weight, c=c, short=True), dd.LENET, scale
        )
        for weight in weights
        for c in cs
    }
    lines = {
        f"λ = {weight:g}": {f"c = {c:g}": measured.both(margins[weight, c]) for c in cs}
        for weight in weights
    }
    small, large = cs[0], cs[-1]
    less, much = weights[0], weights[-1]
    rho = {at: measured.rho(step) for at, step in margins.items()}
    accuracy = {at: measured.accuracy(step) for at, step in margins.items()}
    return Result(
        [Plane("Figure 3", x="accuracy", y="ρ₂", lines=lines)],
        [
            Claim(
                "A larger c encourages a better accuracy but a lower robustness.",
                "section 4.2",
                [
                    check
                    for weight in weights
                    for check in (
                        more(
                            accuracy[weight, large],
                            accuracy[weight, small],
                            f"λ = {weight:g}: accuracy with c = {large:g} above {small:g}'s",
                        ),
                        more(
                            rho[weight, small],
                            rho[weight, large],
                            f"λ = {weight:g}: ρ₂ with c = {small:g} above {large:g}'s",
                        ),
                    )
                ],
                why="The gain in accuracy is half a percent, of networks trained on few images: "
                "within chance of those that were asked.",
            ),
            Claim(
                "A larger λ makes the regulariser contribute more.",
                "section 4.2",
                [
                    more(rho[much, c], rho[less, c], f"c = {c:g}: ρ₂ with λ = {much:g} is larger")
                    for c in cs
                ],
            ),
        ],
    )
