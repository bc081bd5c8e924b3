"""What a finished evaluation wrote, as checks read it: its rows, its settings, and what is left."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from holdfast import metrics
from holdfast.results import CLEAN

#: Robust accuracy below which there is nothing that could be too high.
NOTHING_LEFT = 0.02

#: How the reprs of attacks name what is ascended, by kind.
_LOSSES = {
    "cross-entropy": r"cross_entropy|AdamPGD|DDN\(",
    "margin": r"\bmargin\b|CarliniWagner|EAD\(|DeepFool|FAB\(|FMN\(",
    "dlr": r"\bdlr\b|leave_toward_dlr",
    "other": r"toward|kl_from_clean",
}


class Size(NamedTuple):
    """A norm and a size of its ball."""

    norm: str
    eps: float

    def __str__(self) -> str:
        return f"{self.norm} {self.eps:g}"


@dataclass(frozen=True)
class Ledger:
    """Rows and settings of one finished evaluation.

    Attributes:
        rows: of all attacks and of the unattacked images.
        settings: as run.json has them.
        cells: as run.json has them.
        classes: number of classes.
        late: parts of cascades that follow no gradients, and ran after all that do.
    """

    rows: pd.DataFrame
    settings: Mapping[str, Any]
    cells: Sequence[Mapping[str, Any]]
    classes: int
    late: Collection[str] = ()

    @cached_property
    def clean(self) -> pd.DataFrame:
        """Rows of the unattacked images, by index."""
        return self.rows[self.rows["attack"] == CLEAN].set_index("index")

    @cached_property
    def attacked(self) -> pd.DataFrame:
        """Rows of all attacks, those without a limit read at finite sizes.

        What was read off a larger size has the passes that the attack took there.
        """
        rows = self.rows[self.rows["attack"] != CLEAN]
        read = rows[rows["found_at"] > rows["eps"]] if "found_at" in rows else rows[:0]
        if len(read):
            passes, key = ["forwards", "backwards"], ["attack", "norm", "eps", "index"]
            there = pd.MultiIndex.from_frame(read.assign(eps=read["found_at"])[key])
            rows = rows.copy()
            rows.loc[read.index, passes] = rows.set_index(key)[passes].loc[there].to_numpy()
        return metrics.at_finite_sizes(rows)

    @property
    def chance(self) -> float:
        """Accuracy of one who guesses."""
        return 1 / max(self.classes, 2)

    @cached_property
    def worst(self) -> pd.DataFrame:
        """Robust accuracy in the worst case over all attacks, at every size; see `metrics`."""
        return metrics.worst_case(self.attacked)

    @cached_property
    def size(self) -> Size | None:
        """The ball that is audited: the largest in which enough is left robust; None without.

        What stands in the largest ball is the hardest to believe, and where nothing stands no
        number is too high.
        """
        left = self.worst[(self.worst["eps"] > 0) & (self.worst["robust_accuracy"] > NOTHING_LEFT)]
        if not len(left):
            return None
        largest = left.loc[left.groupby("norm", sort=False)["eps"].idxmax()]
        line = largest.loc[largest["robust_accuracy"].idxmax()]
        return Size(str(line["norm"]), float(line["eps"]))

    @cached_property
    def here(self) -> pd.DataFrame:
        """Rows of attacks in the audited ball and smaller ones of its norm, on images right before.

        Empty if nothing is left.
        """
        if self.size is None:
            return self.attacked[:0]
        rows = self.attacked
        right = rows["clean_prediction"] == rows["label"]
        return rows[(rows["norm"] == self.size.norm) & (rows["eps"] <= self.size.eps) & right]

    @cached_property
    def survivors(self) -> "pd.Index[int]":
        """Indices of the images that no attack fooled in the audited ball."""
        fooled = metrics.met_by_all(self.here).groupby("index")["fooled"].any()
        return fooled.index[~fooled]

    @property
    def robust(self) -> float:
        """Robust accuracy in the audited ball."""
        return len(self.survivors) / len(self.clean)

    @cached_property
    def last(self) -> pd.DataFrame:
        """Of `here`, the rows of the survivors at the audited size itself."""
        here = self.here
        if self.size is None:
            return here
        return here[here["index"].isin(self.survivors) & (here["eps"] == self.size.eps)]

    @cached_property
    def losses(self) -> set[str]:
        """Kinds of losses that the attacks ascended, as their reprs say."""
        text = " ".join(str(attack["attack"]) for attack in self.settings["attacks"])
        found = {name for name, pattern in _LOSSES.items() if re.search(pattern, text)}
        if re.search(r"WorstCase|'apgd-t'", text):
            found |= {"cross-entropy", "dlr"}
        return found

    @property
    def skipped(self) -> list[str]:
        """Attacks, and parts of them, that could not run."""
        return list(dict.fromkeys(name for cell in self.cells for name in cell.get("skipped", ())))

    @property
    def passes(self) -> int:
        """Forward and backward passes that all attacks took."""
        return int(self.rows["forwards"].sum() + self.rows["backwards"].sum())

    def cost_of(self, attack: str) -> float:
        """Passes that an attack took for a survivor in the audited ball, on average."""
        mine = self.last[self.last["attack"] == attack]
        total = mine["forwards"] + mine["backwards"]
        return float(total.mean()) if len(mine) else math.inf

    def evenly(self, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """At most so many survivors, evenly spaced."""
        number = min(count, len(self.survivors))
        place = np.linspace(0, len(self.survivors) - 1, number).round().astype(int)
        return np.asarray(self.survivors)[place]
