"""Table 1, ConvNet on CIFAR-10: accuracy, ρ₂, and accuracy under FGS, by all methods."""

from holdfast.reproduce import Result, Scale

from . import _networks as dd
from ._table_1 import table

MINUTES = {"quick": 0.2, "cpu": 40, "paper": 90}  # paper: estimated

PAPER = {
    "Reference": (0.7974, 2.59e-2, 0.6162, 0.3784, 0.2385),
    "Par. Train": (0.8048, 3.42e-2, 0.6919, 0.5043, 0.2213),
    "Adv. Train I": (0.8065, 3.05e-2, 0.6516, 0.4503, 0.3553),
    "Ours": (0.8170, 5.32e-2, 0.7215, 0.5902, 0.5000),
}

#: Section 4.3.
TIMES = 2.1


def recipe(scale: Scale) -> Result:
    return table(dd.CONVNET, PAPER, scale, times=TIMES)
