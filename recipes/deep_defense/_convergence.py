"""Accuracy and ρ₂ over the epochs, by all methods: what figures 2 and 8 share."""

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from holdfast.reproduce import Curves, Line, Mean, Scale, Step, diagnose

from . import _networks as dd

METHODS = {
    "Clean": dd.clean,
    "Par. Train": dd.parseval,
    "Adv. Train I": dd.adv_train_1,
    "Ours": dd.deep_defense,
}


def followed(network: dd.Network, scale: Scale) -> dict[str, Step]:
    """The epochs of each method."""
    images = scale(
        f"test images, {network.name} over the epochs", quick=100, cpu=1000, paper=10_000
    )
    return {
        name: diagnose(
            "convergence",
            f"{network.name}-{name}",
            model=make(network, scale),
            data=dd.data(network, scale),
            images=images,
        )
        for name, make in METHODS.items()
    }


def at(step: Step, epoch: int, column: str) -> Mean:
    """Accuracy (``right``) or ρ₂ (``relative``) after an epoch."""

    def of(rows: pd.DataFrame) -> "pd.Series[float]":
        return rows[rows["cell"] == epoch].set_index("index")[column]

    return Mean((step,), of, fraction=column == "right")


#: What is drawn, its column, its unit and its file.
DRAWN: Sequence[tuple[str, str, Literal["percent", "number"], str]] = (
    ("accuracy", "right", "percent", "accuracy"),
    ("ρ₂", "relative", "number", "rho2"),
)


def curves(network: dd.Network, steps: dict[str, Step], scale: Scale) -> Sequence[Curves]:
    """The two figures of a network."""
    epochs = range(dd.epochs(network, scale) + 1)
    return [
        Curves(
            f"{network.name}: {what} over the epochs",
            x="epoch",
            y=what,
            lines=[
                Line(name, [(epoch, at(step, epoch, column)) for epoch in epochs])
                for name, step in steps.items()
            ],
            unit=unit,
            name=f"{network.model}-{file}",
        )
        for what, column, unit, file in DRAWN
    ]
