"""Table 2: attacks on Madry et al.'s network at ℓ2 size 1.5.

The paper sets its S-O attack beside what Schott et al. (2018) printed of others. Here all attacks
meet one network.
"""

import math
from collections.abc import Mapping, Sequence

from holdfast.reproduce import (
    Cell,
    Claim,
    Mean,
    Result,
    Scale,
    Step,
    Table,
    accuracy,
    accuracy_within,
    at_least,
    less,
    more,
)

from . import _networks as so

MINUTES = {"quick": 0.1, "cpu": 35, "paper": 500}  # cpu and paper: from _networks

PAPER = {"FGSM": 0.96, "DeepFool": 0.91, "PGD": 0.88, "Boundary": 0.370, "S-O": 0.395}


def recipe(scale: Scale) -> Result:
    size = scale("ℓ2 size", quick=0.6, cpu=1.5, paper=1.5)
    networks = [so.madry(scale, seed) for seed in so.seeds(scale)]
    inside = [so.attacked("inside", net, ["fgsm", so.UNIT], scale, eps=[size]) for net in networks]
    nearest = [
        so.attacked("nearest", net, ["deepfool", _boundary(scale)], scale, eps=[math.inf])
        for net in networks
    ]
    settings = [so.on_madry(scale, seed) for seed in so.seeds(scale)]
    found = _measures(inside, nearest, settings, size, scale)
    cells = {name: Cell(measure, PAPER.get(name)) for name, measure in found.items()}
    return Result(
        [Table(f"Accuracy in % of Madry's network at ℓ2 {size:g}", {"Madry's model": cells})],
        _claims(found),
        notes=[
            "S-O has one σ, 0.15, of which the paper says nothing; the falling one is Holdfast's "
            "rule. Equation 3 has one unit draw of length 2.8, which is √784 times a σ of 0.1.",
            "S-O takes 10 gradients a step, so that PGD with 10 restarts costs as much.",
        ],
    )


def _boundary(scale: Scale) -> str:
    return f"boundary(queries={scale('queries', quick=300, cpu=5000, paper=20_000)})"


def _measures(
    inside: Sequence[Step],
    nearest: Sequence[Step],
    settings: Sequence[Step],
    size: float,
    scale: Scale,
) -> Mapping[str, Mean]:
    return {
        "FGSM": accuracy(inside, "fgsm", size),
        "DeepFool": accuracy_within(nearest, size, "l2", "deepfool"),
        "PGD": accuracy(settings, so.PGD, size),
        "PGD, 10 restarts": accuracy(settings, so.PGD_RESTARTED, size),
        "Boundary": accuracy_within(nearest, size, "l2", _boundary(scale)),
        "S-O": accuracy(settings, so.FIXED, size),
        "S-O, σ falling": accuracy(settings, so.S_O, size),
        "S-O, equation 3": accuracy(inside, so.UNIT, size),
    }


def _claims(found: Mapping[str, Mean]) -> list[Claim]:
    weak = ("FGSM", "DeepFool", "PGD")
    return [
        Claim(
            "All previous methods, FGSM, DeepFool and PGD, cannot significantly reduce the "
            "accuracy of Madry's model.",
            "appendix E",
            [at_least(found[name], 0.85, f"{name} leaves 85 %") for name in weak],
            why="The paper's 88 to 96 % are of Madry et al.'s own network, trained for 100,000 "
            "steps against 40 steps of PGD; a shorter training makes a less robust one.",
        ),
        Claim(
            "S-O leaves far less of it than they do.",
            "appendix E, table 2",
            [
                less(found["S-O"], found[name], f"20 points less than {name}", by=0.2)
                for name in (*weak, "PGD, 10 restarts")
            ],
            why="Here S-O leaves somewhat less than PGD at 1.5, and far less with σ falling, at "
            "larger sizes (table 1): where the two part differs from network to network. Of "
            "the paper's it leaves far less at 1.5 already.",
        ),
        Claim(
            "The only method that achieves similar performance is the boundary attack.",
            "appendix E",
            [
                less(found["Boundary"], found["S-O"], "Boundary within 10 points of S-O", by=-0.1),
                more(found["Boundary"], found["S-O"], "and not below it by more", by=-0.1),
            ],
            why="Boundary's queries decide: the paper takes Schott et al.'s number and does not "
            "say how many they made.",
        ),
    ]
