"""Table 9: Step-LL examples after a random step, transferred between networks of ImageNet."""

from holdfast.reproduce import Claim, Mean, Result, Scale, less

from . import _imagenet as imagenet
from . import table_1

MINUTES = {"quick": 0.3, "cpu": 32, "paper": 30}

TOP_1 = {
    "v4": (70.5, 37.2, 23.2, 34.0, 24.6),
    "v3": (42.6, 80.0, 26.7, 38.5, 27.6),
    "v3_adv": (31.4, 30.7, 64.8, 30.4, 34.0),
    "IRv2": (36.2, 35.7, 23.0, 56.3, 24.6),
    "IRv2_adv": (26.8, 26.3, 25.2, 26.9, 37.5),
}
TOP_5 = {
    "v4": (42.8, 14.3, 6.3, 11.9, 6.9),
    "v3": (18.0, 57.1, 8.0, 15.6, 8.6),
    "v3_adv": (10.7, 10.4, 37.1, 10.1, 12.9),
    "IRv2": (12.8, 13.6, 6.1, 29.3, 7.0),
    "IRv2_adv": (8.0, 8.0, 7.7, 8.3, 15.0),
}


def recipe(scale: Scale) -> Result:
    tables = imagenet.transfer("r+step-ll", {1: TOP_1, 5: TOP_5}, scale)
    plain, *_ = imagenet.transfer("step-ll", {1: table_1.TOP_1}, scale)
    weaker, stronger = (
        [
            (f"{target} from {source}", cell.measure)
            for target, cells in table.rows.items()
            for source, cell in cells.items()
            if target != source and isinstance(cell.measure, Mean)
        ]
        for table in (tables[0], plain)
    )
    claim = Claim(
        "The randomized variant produces perturbations that transfer at a much lower rate.",
        "Appendix D",
        [less(one, other, name) for (name, one), (_, other) in zip(weaker, stronger, strict=True)],
        why="Between some pairs few examples transfer to begin with, and the two variants differ "
        "by less than chance.",
    )
    return Result(tables, imagenet.told([claim], scale), imagenet.stand_in(scale))
