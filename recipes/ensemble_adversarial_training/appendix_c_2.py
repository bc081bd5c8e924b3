"""Appendix C.2: input dropout before A, C and D, and C and D as the authors' code has them.

The paper says in words what input dropout does in networks other than B. Its code
(ftramer/ensemble-adv-training) has a C without pooling, with ReLU and dropout, and a D with dropout
after each of its layers, where table 5 has neither; the printed errors stand beside both. Of D an
ensemble is taught in both ways: whether it masks less than FGSM training hangs on that dropout.
"""

from collections.abc import Callable, Mapping, Sequence
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
    robust_error,
)

from . import _networks as eat
from . import table_7

#: At cpu as table 7, most of whose trainings it takes too; paper: estimated.
MINUTES = {"quick": 0.5, "cpu": 150, "paper": 60}


def recipe(scale: Scale) -> Result:
    dropped: dict[str, dict[str, Cell]] = {}
    coded: dict[str, dict[str, Cell]] = {}
    ours: dict[str, dict[str, Cell]] = {}
    claims = []
    for name in scale("architectures before dropout", quick="D", cpu="ACD", paper="ACD"):
        trainings: dict[str, Callable[[str, Scale, int], Step]] = {
            f"{name}_adv": eat.adversarial,
            f"{name}_adv behind dropout 0.2": partial(eat.adversarial, dropout=True),
            f"{name}_adv-ens": eat.ensemble,
        }
        means = []
        for label, made in trainings.items():
            targets = [made(name, scale, seed) for seed in eat.seeds(name, scale)]
            dropped[label], mean = _row(label, targets, scale)
            ours[label], _ = _row(label, targets, scale, count=robust_error)
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
    for name in scale("architectures of the code", quick="D", cpu="CD", paper="CD"):
        trained: dict[str, Callable[[str, Scale, int], Step]] = {
            "": eat.plain,
            "_adv": eat.adversarial,
        }
        if name == "D":
            trained["_adv-ens"] = eat.ensemble
        for label, made in trained.items():
            for of, shown in ((name, f"{name}{label}"), (f"{name}code", f"{name}{label}, code")):
                targets = [made(of, scale, seed) for seed in eat.seeds(name, scale)]
                printed = table_7.PAPER.get(f"{name}{label}", (None, None))
                coded[shown], _ = _row(shown, targets, scale, printed)
                ours[shown], _ = _row(shown, targets, scale, count=robust_error)
    claims += [
        Claim(
            f"D{of}: ensemble adversarial training decreases gradient masking.",
            "4.2",
            [
                less(
                    _found(coded[f"D_adv-ens{of}"], column),
                    _found(coded[f"D_adv{of}"], column),
                    f"{column} errs less than after FGSM training",
                )
                for column in ("R+FGSM", "R+FGSM, α = ε/2")
            ],
            why="The paper says it of ImageNet. On MNIST it hangs on D's dropout, behind each of "
            "its layers in the code, and behind all of them where table 5 is read as it stands.",
        )
        for of in (", code", "")
    ]
    return Result(
        [
            Table("Errors in % behind input dropout", dropped, name="dropout"),
            Table("Errors in % of table 5's networks and of the code's", coded, name="code"),
            Table(eat.OURS, ours, name="ours"),
        ],
        claims,
    )


def _found(cells: Mapping[str, Cell], column: str) -> Measure:
    measure = cells[column].measure
    assert measure is not None
    return measure


def _row(
    name: str,
    targets: Sequence[Step],
    scale: Scale,
    paper: Sequence[float | None] = (None, None),
    count: eat.Count = error,
) -> tuple[dict[str, Cell], MeanOver]:
    white = [eat.single(name, target, scale) for target in targets]
    half = [eat.half_random(name, target, scale) for target in targets]
    black = []
    for source in eat.attackers(scale):
        crafted_on = eat.attacker(source, scale)
        steps = [
            eat.single(f"{name} from {source}", target, scale, crafted_on) for target in targets
        ]
        black.append(count(steps))
    mean = MeanOver(tuple(black))
    measures: dict[str, Measure] = {
        "FGSM": count(white, "fgsm"),
        "R+FGSM": count(white, eat.rfgsm(scale)),
        "R+FGSM, α = ε/2": count(half),
        "FGSM transferred, mean": mean,
    }
    printed = [None if value is None else value / 100 for value in (*paper[:2], None, None)]
    cells = zip(measures.items(), printed, strict=True)
    return {column: Cell(measure, number) for (column, measure), number in cells}, mean
