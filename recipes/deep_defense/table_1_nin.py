"""Table 1, NIN on CIFAR-10: accuracy, ρ₂, and accuracy under FGS, by all methods."""

from holdfast.reproduce import Result, Scale

from . import _networks as dd
from ._table_1 import table

MINUTES = {"quick": 0.2, "cpu": 35, "paper": 400}  # paper: estimated

PAPER = {
    "Reference": (0.8964, 4.20e-2, 0.7561, 0.4922, 0.3356),
    "Par. Train": (0.8820, 4.33e-2, 0.7539, 0.4975, 0.1774),
    "Adv. Train I": (0.8987, 5.25e-2, 0.7887, 0.5885, 0.4590),
    "Ours": (0.8996, 5.58e-2, 0.8070, 0.7073, 0.5000),
}

#: Section 4.3.
TIMES = 1.3


def recipe(scale: Scale) -> Result:
    return table(dd.NIN, PAPER, scale, times=TIMES)
