"""What is read off the rows of a step: a number with its 95 % interval.

A number over several seeds is the mean of theirs, with Student's interval over the seeds; over one
network, the interval is over the images: Clopper and Pearson's for a fraction of them, otherwise
the normal one. What is said to be a fraction stays within [0, 1], with both ends of its interval.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import scipy
from torch import Tensor

from holdfast.errors import MissingFileError
from holdfast.reproduce.rows import rows_of
from holdfast.reproduce.steps import Step
from holdfast.results import read_about, read_images
from holdfast.statistics import proportion_interval

#: Where a mean may lie.
ANYWHERE, FRACTION = (-math.inf, math.inf), (0.0, 1.0)

_NORMAL = 1.959964  # 97.5 % quantile


class Measured(NamedTuple):
    """A number and how sure it is.

    Attributes:
        value: as a fraction, not in percent.
        low: lower end of its 95 % interval; NaN if none is known.
        high: upper end.
        images: how many it is over; 0 if it is not over images.
        seeds: how many networks it is over.

    Example:
        >>> from holdfast.reproduce import Measured
        >>> Measured(0.8, 0.71, 0.87, images=100, seeds=1).value
        0.8
    """

    value: float
    low: float
    high: float
    images: int
    seeds: int


@runtime_checkable
class Measure(Protocol):
    """Something to read off run folders.

    Example:
        >>> from holdfast.reproduce import Measure, accuracy, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> isinstance(accuracy(attacked, "pgd"), Measure)
        True
    """

    @property
    def steps(self) -> tuple[Step, ...]:
        """Where it is read from."""
        ...

    def read(self, root: Path) -> Measured:
        """Read it off the folders under ``root``."""
        ...


@dataclass(frozen=True)
class Mean:
    """A mean over images, and over the steps, which are of one kind with a seed each.

    Args:
        steps: finished evaluations, certifications or diagnoses.
        of: a number for each image, indexed by the image, made of a step's table.
        table: reads it from the step's folder; its rows, if nothing else is said.
        fraction: whether the number is 0 or 1 for each image, so that the mean is a fraction.

    Example:
        >>> from holdfast.reproduce import Mean, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> draws = Mean((attacked,), lambda rows: rows.set_index("index")["forwards"])
        >>> [step.command for step in draws.steps]
        ['evaluate']
    """

    steps: tuple[Step, ...]
    of: Callable[[pd.DataFrame], "pd.Series[float]"]
    table: Callable[[Path], pd.DataFrame] = rows_of
    fraction: bool = False

    @property
    def counted(self) -> bool:
        """Whether the number of each image is 0 or 1."""
        return self.fraction

    def by_image(self, root: Path) -> list["pd.Series[float]"]:
        """The number of each image, of each step."""
        return [self.of(self.table(root / step.folder)).astype(float) for step in self.steps]

    def read(self, root: Path) -> Measured:
        """See `Measure`."""
        within = FRACTION if self.fraction else ANYWHERE
        return measured(self.by_image(root), counted=self.counted, within=within)


def measured(
    parts: Sequence["pd.Series[float]"],
    *,
    counted: bool = False,
    within: tuple[float, float] = ANYWHERE,
) -> Measured:
    """The mean over seeds and images of numbers that are 0 or 1, or lie ``within`` two ends.

    Images without a number, NaN, count for nothing; of no image there is no mean.
    """
    parts = [part.dropna() for part in parts]
    means = np.array([part.mean() for part in parts])
    images = len(parts[0])
    if not images:
        return Measured(math.nan, math.nan, math.nan, 0, len(parts))
    if len(parts) > 1:
        low, high = _over_seeds(means)
    elif counted:
        limits = proportion_interval(int(parts[0].sum()), images)
        low, high = float(limits[0]), float(limits[1])
    else:
        half = _NORMAL * float(parts[0].std()) / math.sqrt(images)
        low, high = means[0] - half, means[0] + half
    low, high = max(low, within[0]), min(high, within[1])
    return Measured(float(means.mean()), low, high, images, len(parts))


def _over_seeds(values: "np.ndarray[Any, np.dtype[np.float64]]") -> tuple[float, float]:
    count = len(values)
    quantile = float(scipy.stats.t.ppf(0.975, count - 1))
    half = quantile * float(values.std(ddof=1)) / math.sqrt(count)
    return float(values.mean()) - half, float(values.mean()) + half


@dataclass(frozen=True)
class OfImages:
    """A mean over the images that an evaluation kept.

    Args:
        step: a finished evaluation, with ``keep_images``.
        of: a number for each image, made of the images (N, C, H, W) as they are and as attacked.
        attack: which attack's, by its place among those of the step.

    Example:
        >>> from holdfast.reproduce import OfImages, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks="pgd", eps=0.1, keep_images=100)
        >>> grey = OfImages(attacked, lambda x, x_adv: (x > 0.2).double().flatten(1).mean(dim=1))
        >>> grey.steps == (attacked,)
        True
    """

    step: Step
    of: Callable[[Tensor, Tensor], Tensor]
    attack: int = 0

    @property
    def steps(self) -> tuple[Step, ...]:
        """See `Measure`."""
        return (self.step,)

    def read(self, root: Path) -> Measured:
        """See `Measure`."""
        # Cell 0 of an evaluation is of the images as they are.
        kept = read_images(root / self.step.folder, self.attack + 1, "index", "x", "x_adv")
        values = self.of(kept["x"], kept["x_adv"]).double()
        return measured([pd.Series(values.numpy(), index=kept["index"].numpy())])


@dataclass(frozen=True)
class Recorded:
    """A number that the steps recorded in run.json, such as a diagnosis's, or a search's best.

    Args:
        steps: finished, with a seed each.
        name: of the number, in a cell of the results.
        where: what tells the cell from others, if there are several.

    Example:
        >>> from holdfast.reproduce import Recorded, diagnose, train
        >>> near = diagnose("linearity", "near", model=train("net", model="small"), eps=0.1)
        >>> Recorded((near,), "ratio_of_means").name
        'ratio_of_means'
    """

    steps: tuple[Step, ...]
    name: str
    where: tuple[tuple[str, Any], ...] = ()

    def read(self, root: Path) -> Measured:
        """See `Measure`."""
        values = np.array([self._of(root / step.folder) for step in self.steps])
        low, high = _over_seeds(values) if len(values) > 1 else (math.nan, math.nan)
        return Measured(float(values.mean()), low, high, 0, len(values))

    def _of(self, folder: Path) -> float:
        about = read_about(folder)
        one = about.get("best", about.get("last_epoch", {}))
        cells: Sequence[Mapping[str, Any]] = about.get("cells") or [one]
        found = [
            cell[self.name]
            for cell in cells
            if self.name in cell and all(cell.get(key) == value for key, value in self.where)
        ]
        if len(found) != 1:
            raise MissingFileError(
                f"{folder} has {len(found)} numbers called {self.name} where "
                f"{json.dumps(dict(self.where))}, but one is needed; correct the recipe."
            )
        return math.nan if found[0] is None else float(found[0])


@dataclass(frozen=True)
class Computed:
    """A number made of the rows of several steps at once, without an interval.

    Args:
        steps: finished.
        of: takes the rows of each step, in order.

    Example:
        >>> from holdfast.reproduce import Computed, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> Computed((attacked,), lambda rows: rows["loss"].max()).steps == (attacked,)
        True
    """

    steps: tuple[Step, ...]
    of: Callable[..., float]

    def read(self, root: Path) -> Measured:
        """See `Measure`."""
        rows = [rows_of(root / step.folder) for step in self.steps]
        return Measured(float(self.of(*rows)), math.nan, math.nan, 0, 1)
