"""Appendix C.2: input dropout before A, C and D, and C and D as the authors' code has them.

The paper says in words what input dropout does in networks other than B. Its code
(ftramer/ensemble-adv-training) has a C without pooling, with ReLU and dropout, and a D with dropout
after each of its layers, where table 5 has neither; the printed errors stand beside both.
"""

from collections.abc import Callable, Sequence
from functools import partial

from holdfast.reproduce import (
    Cell,
    Claim,
    MeanOver,
    Measure,
    Result,
    Scale,
    Step,
    Table,
    error,
    less,
    more,
)

from . import _networks as eat
from . import table_7

MINUTES = {"quick": 0.5, "cpu": 40, "paper": 60}  # cpu and paper: estimated


def recipe(scale: Scale) -> Result:
    dropped: dict[str, dict[str, Cell]] = {}
    claims = []
    for name in scale("architectures before dropout", quick="D", cpu="D", paper="ACD"):
        trainings: dict[str, Callable[[str, Scale, int], Step]] = {
            f"{name}_adv": eat.adversarial,
            f"{name}_adv behind dropout 0.2": partial(eat.adversarial, dropout=True),
            f"{name}_adv-ens": eat.ensemble,
        }
        means = []
        for label, made in trainings.items():
            targets = [made(name, scale, seed) for seed in eat.seeds(name, scale)]
            dropped[label], mean = _row(label, targets, scale)
            means.append(mean)
        adv, behind, ens = means
        claims.append(
            Claim(
                f"{name}: an input dropout layer confers only marginal benefit, and is "
                "outperformed by ensemble adversarial training.",
                "C.2",
                [
                    more(
                        behind,
                        adv,
                        "it lowers the mean transferred error by at most 5 points",
                        by=-0.05,
                    ),
                    less(ens, behind, "the ensemble's mean transferred error is lower"),
                ],
            )
        )
    coded: dict[str, dict[str, Cell]] = {}
    for name in scale("architectures of the code", quick="D", cpu="D", paper="CD"):
        for label, made in (("", eat.plain), ("_adv", eat.adversarial)):
            for of, shown in ((name, f"{name}{label}"), (f"{name}code", f"{name}{label}, code")):
                targets = [made(of, scale, seed) for seed in eat.seeds(name, scale)]
                coded[shown], _ = _row(shown, targets, scale, table_7.PAPER[f"{name}{label}"])
    return Result(
        [
            Table("Errors in % behind input dropout", dropped, name="dropout"),
            Table("Errors in % of table 5's networks and of the code's", coded, name="code"),
        ],
        claims,
    )


def _row(
    name: str, targets: Sequence[Step], scale: Scale, paper: Sequence[float | None] = (None, None)
) -> tuple[dict[str, Cell], MeanOver]:
    white = [eat.single(name, target, scale) for target in targets]
    black = []
    for source in eat.attackers(scale):
        crafted_on = eat.attacker(source, scale)
        steps = [
            eat.single(f"{name} from {source}", target, scale, crafted_on) for target in targets
        ]
        black.append(error(steps))
    mean = MeanOver(tuple(black))
    measures: dict[str, Measure] = {
        "FGSM": error(white, "fgsm"),
        "R+FGSM": error(white, eat.rfgsm(scale)),
        "FGSM transferred, mean": mean,
    }
    printed = [None if value is None else value / 100 for value in (*paper[:2], None)]
    cells = zip(measures.items(), printed, strict=True)
    return {column: Cell(measure, number) for (column, measure), number in cells}, mean
