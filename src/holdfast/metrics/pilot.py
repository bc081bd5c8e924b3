"""Images far from falling that a cascade may spare its dear parts, once a pilot has shown that.

The first so many images, in an order that the seed draws, meet every part. If none of them that was
far when an early part had ended fell to a later one, those parts are spared to every other image
that is far. Of images drawn at random the pilot is a sample, and bounds what they would break. Whom
it tries hangs on the seed alone, never on batches or on the order in which they are done.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from holdfast.metrics.accuracy import CELL
from holdfast.metrics.masking import downhill
from holdfast.parameters import Seed
from holdfast.random import Stream
from holdfast.statistics import upper_limit

__all__ = ["Pilot", "drawn_order", "spared"]

#: With which what is not tried is bounded.
_CONFIDENCE = 0.95


class Pilot(NamedTuple):
    """What it takes for images that are far to be spared the parts that follow.

    Attributes:
        images: that meet every part; none of these that is far may fall.
        near: which images are not far, see `holdfast.attacks.Worst`.

    Example:
        >>> from holdfast.metrics import Pilot
        >>> Pilot(100, near=(1.0, 0.3, 1.0)).record()
        {'images': 100, 'near': [1.0, 0.3, 1.0]}
    """

    images: int
    near: tuple[float, ...]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Pilot":
        """The pilot of a `record`."""
        return cls(record["images"], tuple(record["near"]))

    def record(self) -> dict[str, Any]:
        """As the settings of a run hold it."""
        return {"images": self.images, "near": [*self.near]}

    def tried(self, rows: pd.DataFrame, order: Int[Tensor, " n"]) -> pd.DataFrame:
        """Those rows that are of the pilot's images, the first in `drawn_order`."""
        return rows[rows["index"].isin(order[: self.images].tolist())]

    def spares(self, tried: pd.DataFrame, clean: "pd.Series[float]") -> bool:
        """Whether images that are far stand whatever follows, by those of the pilot.

        Not so where an attack saw no gradient, or one that led downhill: how near an image came
        then says nothing.

        Args:
            tried: rows of the attack at one size, see `tried`.
            clean: loss of the unattacked images, by index.
        """
        far = _far(tried)
        unseen = far["blind"].to_numpy(dtype=bool) | (far["backwards"].to_numpy() == 0)
        fell = far["fooled"].to_numpy(dtype=bool)
        return not ((fell | unseen).any() or downhill(far, clean))

    def said(
        self, rows: pd.DataFrame, clean: "pd.Series[float]", order: Int[Tensor, " n"]
    ) -> dict[str, Any] | None:
        """What a cell says where images were spared parts; None where none was.

        Args:
            rows: of the attack at one size, finished.
            clean: see `spares`.
            order: of the images, see `drawn_order`.

        Returns:
            Of the ``far`` images ``tried`` met every part, and of those this fraction ``at_most``
            would fall, with the ``confidence``: Clopper and Pearson's upper limit. It is about the
            draw of the images tried; drawn without replacement, they tell more.
        """
        tried = self.tried(rows, order)
        count, far = len(_far(tried)), len(_far(rows))
        if count == far or not self.spares(tried, clean):
            return None
        limit = upper_limit(np.array(0), np.array(count), 1 - _CONFIDENCE) if count else 1.0
        return {
            "tried": count,
            "far": far,
            "at_most": float(limit),
            "confidence": _CONFIDENCE,
        }


def _far(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of images that were right, and far from falling."""
    return rows[(rows["clean_prediction"] == rows["label"]) & rows["far"]]


def drawn_order(images: int, seed: Seed) -> Int[Tensor, " n"]:
    """The images in an order that the seed draws.

    Example:
        >>> from holdfast.metrics import drawn_order
        >>> drawn_order(5, seed=0).sort().values.tolist()
        [0, 1, 2, 3, 4]
    """
    bits = Stream.of(seed, torch.arange(images)).fold("pilot").bits(())
    return bits.argsort(stable=True)


def spared(rows: pd.DataFrame, settings: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """What `Pilot.said` says of each attack of an evaluation, by its place, where it says anything.

    Args:
        rows: of the whole run.
        settings: of the run; its ``attacks`` are those of the rows, in this order.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import WorstCase
        >>> suite = WorstCase(Linf(0.0), budget=1500, pilot=2)  # within a ball of size 0
        >>> result = evaluate(model, x, y, {"suite": suite})
        >>> pilot = {"name": "suite", "pilot": {"images": 2, "near": suite.near}}
        >>> settings = {"attacks": [pilot], "images": 4, "seed": 0}
        >>> found = metrics.spared(result.rows, settings)[0]
        >>> found["tried"], found["far"]
        (2, 4)
    """
    pilots = {
        place: Pilot.of(attack["pilot"])
        for place, attack in enumerate(settings["attacks"])
        if "pilot" in attack
    }
    if not pilots:
        return {}
    order = drawn_order(settings["images"], settings["seed"])
    attacked = rows[rows["norm"] != "none"].groupby(CELL, sort=False)
    clean = rows[rows["norm"] == "none"].set_index("index")["loss"]
    found = {
        place: pilots[place].said(part, clean, order)
        for place, (_, part) in enumerate(attacked)
        if place in pilots
    }
    return {place: said for place, said in found.items() if said is not None}
