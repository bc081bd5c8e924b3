"""Table 7: single-step attacks, from inside and from others, with and without FGSM training.

White box: FGSM and R+FGSM on the network itself; black box: FGSM crafted on another network of
each architecture. A network whose error under R+FGSM, or under what transfers, is far above that
under FGSM masks its gradient.
"""

from collections.abc import Mapping

from holdfast.reproduce import (
    Cell,
    Claim,
    Largest,
    Mean,
    Result,
    Scale,
    Step,
    Table,
    at_most,
    error,
    more,
    robust_error,
)

from . import _networks as eat

#: At cpu its passes at the rate of the same network on a core of its own.
MINUTES = {"quick": 0.5, "cpu": 60, "paper": 60}

_FROM = {name: f"FGSM from {eat.SHOWN.get(name, name)}" for name in eat.ARCHITECTURES}
#: FGSM, R+FGSM, then FGSM from each of the architectures, in %.
PAPER = {
    "A": (64.7, 69.7, None, 61.5, 53.2, 46.8, 41.5),
    "A_adv": (2.2, 14.8, 6.6, 10.7, 8.8, 6.5, 8.3),
    "B": (85.0, 86.0, 45.7, None, 69.9, 59.9, 85.9),
    "B_adv": (11.6, 11.1, 6.4, 8.9, 8.5, 4.9, 6.1),
    "Bstar": (75.7, 74.1, 44.3, 72.8, None, 46.0, 62.6),
    "Bstar_adv": (4.3, 40.6, 16.1, 14.7, 15.0, 17.9, 9.1),
    "C": (81.8, 81.8, 40.2, 55.8, 49.5, None, 59.4),
    "C_adv": (3.7, 17.1, 9.8, 29.3, 21.5, 11.9, 21.9),
    "D": (92.4, 95.4, 61.3, 74.1, 68.9, 65.1, None),
    "D_adv": (25.5, 47.5, 32.1, 30.5, 29.3, 28.2, 21.8),
}


def recipe(scale: Scale) -> Result:
    rows: dict[str, dict[str, Cell]] = {}
    ours: dict[str, dict[str, Cell]] = {}
    claims = []
    for name in eat.targets(scale):
        shown, seeds = eat.SHOWN.get(name, name), eat.seeds(name, scale)
        for ending, train in (("", eat.plain), ("_adv", eat.adversarial)):
            targets = [train(name, scale, seed) for seed in seeds]
            label = f"{shown}{ending}"
            found = _errors(label, targets, scale, error)
            rows[label] = _cells(found, PAPER[f"{name}{ending}"])
            ours[label] = _cells(_errors(label, targets, scale, robust_error))
        black = [of for column, of in found.items() if column in _FROM.values()]
        claims += _claims(shown, found["FGSM"], found["R+FGSM"], *black)  # after FGSM training
    notes = [
        "The paper's diagonal has no number for a plain network, since source and target were one "
        "network; here the attacker has a seed of its own, and the cell is that transfer.",
        "R+FGSM has α = 0.05, as in the authors' code, and beside it α = ε/2, which the text names "
        "for ImageNet: after FGSM training the error hangs on it.",
        eat.READING_OF_D,
    ]
    tables = [
        Table("Errors in % under single-step attacks", rows),
        Table(eat.OURS, ours, name="ours"),
    ]
    return Result(tables, claims, notes)


def _claims(name: str, fgsm: Mean, random: Mean, *black: Mean) -> list[Claim]:
    trained, best = f"{name} after FGSM training", Largest(black)
    if name == "B":  # its input dropout makes the attack's examples diverse, the paper believes
        return [
            Claim(
                f"{trained}: the opposite of both holds.",
                "C.2",
                [
                    at_most(random, fgsm, "R+FGSM errs no more than FGSM"),
                    at_most(best, fgsm, "no black box beats FGSM"),
                ],
            )
        ]
    return [
        Claim(
            f"{trained}: single-step attacks are significantly stronger if prepended by a random "
            "step.",
            "C.2",
            [more(random, fgsm, "R+FGSM errs more than FGSM")],
        ),
        Claim(
            f"{trained}: black-box attacks trump white-box single-step ones.",
            "C.2",
            [more(best, fgsm, "the best of the black boxes beats FGSM")],
        ),
    ]


def _errors(name: str, targets: list[Step], scale: Scale, count: eat.Count) -> dict[str, Mean]:
    white = [eat.single(name, target, scale) for target in targets]
    half = [eat.half_random(name, target, scale) for target in targets]
    found = {
        "FGSM": count(white, "fgsm"),
        "R+FGSM": count(white, eat.rfgsm(scale)),
        "R+FGSM, α = ε/2": count(half),
    }
    for source in eat.attackers(scale):
        crafted_on = eat.attacker(source, scale)
        black = [
            eat.single(f"{name} from {source}", target, scale, crafted_on) for target in targets
        ]
        found[_FROM[source]] = count(black)
    return found


def _cells(found: Mapping[str, Mean], printed: tuple[float | None, ...] = ()) -> dict[str, Cell]:
    paper = dict(zip(("FGSM", "R+FGSM", *_FROM.values()), printed, strict=False))
    cells = {}
    for column, measure in found.items():
        value = paper.get(column)
        cells[column] = Cell(measure, None if value is None else value / 100)
    return cells
