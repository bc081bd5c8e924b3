"""Parts of a cascade that must earn their keep: tried on some images before they run on all.

Images are put in an order that the seed draws. The first so many meet every part, then as many
again, until the late parts have broken an image, which earns them all others, or as many images as
were asked for have been left to them and none of these broke. Of images drawn at random that is a
sample, and bounds what they would break of all. Whom they are tried on hangs on the seed and on
which images the parts before left, never on batches or on the order in which they are done.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from holdfast.metrics.accuracy import CELL
from holdfast.metrics.masking import downhill
from holdfast.random import Stream
from holdfast.statistics import upper_limit

__all__ = ["Pilot", "drawn_order", "pilot_ends", "spared"]

#: With which what is not tried is bounded.
_CONFIDENCE = 0.95


class Pilot(NamedTuple):
    """What it takes for the last parts of a cascade to be run on all images.

    Attributes:
        parts: their names.
        images: of so many that the parts before left, they must break one.

    Example:
        >>> from holdfast.metrics import Pilot
        >>> Pilot(("square",), images=100).record()
        {'parts': ['square'], 'images': 100}
    """

    parts: tuple[str, ...]
    images: int

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Pilot":
        """The pilot of a `record`."""
        return cls(tuple(record["parts"]), record["images"])

    def record(self) -> dict[str, Any]:
        """As the settings of a run hold it."""
        return {"parts": [*self.parts], "images": self.images}

    def earned(self, rows: pd.DataFrame, clean: "pd.Series[float]") -> bool | None:
        """Whether the parts have earned all images by these rows; None if more are to be tried.

        They have, too, where the parts before saw no gradient, or one that led downhill: what those
        leave then says nothing.

        Args:
            rows: of the images tried on so far, of the attack at one size.
            clean: loss of the unattacked images, by index.
        """
        left = self._left(rows)
        broke = left["fooled"].to_numpy(dtype=bool)
        unseen = left["blind"].to_numpy(dtype=bool) | (left["backwards"].to_numpy() == 0)
        if (broke | unseen).any() or downhill(left, clean):
            return True
        return False if len(left) >= self.images else None

    def spared(
        self,
        rows: pd.DataFrame,
        clean: "pd.Series[float]",
        order: Int[Tensor, " n"],
        ends: Sequence[int],
    ) -> dict[str, Any] | None:
        """What a cell says where the pilot spared the other images; None where it did not.

        Args:
            rows: of the attack at one size, finished.
            clean: see `earned`.
            order: of the images, see `drawn_order`.
            ends: of the rounds, see `pilot_ends`.

        Returns:
            ``tried`` of ``left`` images met the parts, and of those left ``at_most`` this fraction
            would be broken by them, with the ``confidence``: Clopper and Pearson's upper limit. It
            is about the draw of the images tried; drawn without replacement, they tell more.
        """
        place = np.empty(len(order), dtype=np.int64)
        place[order.numpy()] = np.arange(len(order))
        drawn = place[rows["index"].to_numpy()]
        for end in ends:
            some = rows[drawn < end]
            earned = self.earned(some, clean)
            if earned:
                return None
            if earned is False:
                tried = len(self._left(some))
                limit = upper_limit(np.array(0), np.array(tried), 1 - _CONFIDENCE)
                return {
                    "parts": [*self.parts],
                    "tried": tried,
                    "left": len(self._left(rows)),
                    "at_most": float(limit),
                    "confidence": _CONFIDENCE,
                }
        return None

    def _left(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Those of images that were right, and that the parts before did not break."""
        right = rows["clean_prediction"] == rows["label"]
        return rows[right & (~rows["fooled"] | rows["by"].isin(self.parts))]


def drawn_order(images: int, seed: int) -> Int[Tensor, " n"]:
    """The images in an order that the seed draws.

    Example:
        >>> from holdfast.metrics import drawn_order
        >>> drawn_order(5, seed=0).sort().values.tolist()
        [0, 1, 2, 3, 4]
    """
    bits = Stream.of(seed, torch.arange(images)).fold("pilot").bits(())
    return bits.argsort(stable=True)


def pilot_ends(images: int, pilots: Sequence[Pilot]) -> Iterator[int]:
    """How many images have been tried on after each round, the last of which leaves some.

    Example:
        >>> from holdfast.metrics import Pilot, pilot_ends
        >>> list(pilot_ends(1000, [Pilot(("square",), images=100)]))
        [100, 200, 400, 800]
    """
    end = max((pilot.images for pilot in pilots), default=images)
    while end < images:
        yield end
        end *= 2


def spared(rows: pd.DataFrame, settings: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """What `Pilot.spared` says of each attack of an evaluation, by its place, where it spared any.

    Args:
        rows: of the whole run.
        settings: of the run; its ``attacks`` are those of the rows, in this order.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import WorstCase
        >>> suite = WorstCase(Linf(0.0), budget=60, pilot=2)  # within a ball of size 0
        >>> result = evaluate(model, x, y, {"suite": suite})
        >>> pilot = {"name": "suite", "pilot": {"parts": ["square"], "images": 2}}
        >>> settings = {"attacks": [pilot], "images": 4, "seed": 0}
        >>> metrics.spared(result.rows, settings)[0]["tried"]
        2
    """
    pilots = {
        place: Pilot.of(attack["pilot"])
        for place, attack in enumerate(settings["attacks"])
        if "pilot" in attack
    }
    if not pilots:
        return {}
    order = drawn_order(settings["images"], settings["seed"])
    ends = list(pilot_ends(settings["images"], [*pilots.values()]))
    attacked = rows[rows["norm"] != "none"].groupby(CELL, sort=False)
    clean = rows[rows["norm"] == "none"].set_index("index")["loss"]
    found = {
        place: pilots[place].spared(part, clean, order, ends)
        for place, (_, part) in enumerate(attacked)
        if place in pilots
    }
    return {place: said for place, said in found.items() if said is not None}
