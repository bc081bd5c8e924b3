"""Table 7: single-step attacks, from inside and from others, with and without FGSM training.

White box: FGSM and R+FGSM on the network itself; black box: FGSM crafted on another network of
each architecture. A network whose error under R+FGSM, or under what transfers, is far above that
under FGSM masks its gradient.
"""

from holdfast.reproduce import Cell, Claim, Largest, Mean, Result, Scale, Step, Table, error, more

from . import _networks as eat

MINUTES = {"quick": 0.5, "cpu": 90, "paper": 60}

COLUMNS = ("A", "B", "Bstar", "C", "D")
#: FGSM, R+FGSM, then FGSM from each of the columns, in %.
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
    claims = []
    for name in eat.targets(scale):
        shown, seeds = eat.SHOWN.get(name, name), eat.seeds(name, scale)
        plain = [eat.plain(name, scale, seed) for seed in seeds]
        adv = [eat.adversarial(name, scale, seed) for seed in seeds]
        rows[shown] = _row(name, shown, plain, scale)
        rows[f"{shown}_adv"] = row = _row(f"{name}_adv", f"{shown}_adv", adv, scale)
        fgsm, random, *black = (cell.measure for cell in row.values() if cell.measure)
        assert isinstance(fgsm, Mean)
        assert isinstance(random, Mean)
        claims += [
            Claim(
                f"{shown} after FGSM training: single-step attacks are significantly stronger if "
                "prepended by a random step.",
                "C.2",
                [more(random, fgsm, "R+FGSM errs more than FGSM")],
            ),
            Claim(
                f"{shown} after FGSM training: black-box attacks trump white-box single-step ones.",
                "C.2",
                [more(Largest(tuple(black)), fgsm, "the best of the black boxes beats FGSM")],
            ),
        ]
    notes = [
        "The paper's diagonal has no number for a plain network, since source and target were one "
        "network; here the attacker has a seed of its own, and the cell is that transfer.",
        "R+FGSM has α = 0.05, as in the authors' code.",
        eat.READING_OF_D,
    ]
    return Result([Table("Errors in % under single-step attacks", rows)], claims, notes)


def _row(key: str, name: str, targets: list[Step], scale: Scale) -> dict[str, Cell]:
    printed = [None if value is None else value / 100 for value in PAPER[key]]
    white = [eat.single(name, target, scale) for target in targets]
    cells = {
        "FGSM": Cell(error(white, "fgsm"), printed[0]),
        "R+FGSM": Cell(error(white, eat.rfgsm(scale)), printed[1]),
    }
    for source in eat.attackers(scale):
        crafted_on = eat.attacker(source, scale)
        black = [
            eat.single(f"{name} from {source}", target, scale, crafted_on) for target in targets
        ]
        shown = eat.SHOWN.get(source, source)
        cells[f"FGSM from {shown}"] = Cell(error(black), printed[2 + COLUMNS.index(source)])
    return cells
