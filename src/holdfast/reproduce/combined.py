"""Several measures made one: the mean or the smallest at each image, or the largest of all."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

import pandas as pd

from holdfast.errors import InputError
from holdfast.metrics import paired
from holdfast.reproduce.measures import ANYWHERE, FRACTION, Mean, Measure, Measured, measured
from holdfast.reproduce.steps import Step


@dataclass(frozen=True)
class _Over:
    """Several measures of the same images and seeds, made one at each image."""

    of: tuple[Mean, ...]

    how: ClassVar[Literal["mean", "min"]]  # the numbers of an image become one

    @property
    def steps(self) -> tuple[Step, ...]:
        """See `Measure`."""
        return tuple(step for measure in self.of for step in measure.steps)

    @property
    def fraction(self) -> bool:
        """See `Mean`."""
        return all(measure.fraction for measure in self.of)

    @property
    def counted(self) -> bool:
        """See `Mean`; a mean of 0 and 1 is neither."""
        return self.fraction and self.how == "min"

    def by_image(self, root: Path) -> list["pd.Series[float]"]:
        """The number of each image, of each seed."""
        return [each.agg(self.how, axis="columns") for each in self._each(root)]

    def read(self, root: Path) -> Measured:
        """See `Measure`."""
        within = FRACTION if self.fraction else ANYWHERE
        return measured(self.by_image(root), counted=self.counted, within=within)

    def _each(self, root: Path) -> Iterator[pd.DataFrame]:
        """Of each seed: a line for each image, a column for each measure."""
        for of_seed in zip(*(measure.by_image(root) for measure in self.of), strict=True):
            if not all(part.index.equals(of_seed[0].index) for part in of_seed):
                raise InputError(
                    "what is taken at each image is of the same images, these are not."
                )
            yield pd.concat(of_seed, axis="columns")


class MeanOver(_Over):
    """The mean of several measures of the same images and seeds, such as over all attacks.

    Args:
        of: the measures.

    Example:
        >>> from holdfast.reproduce import MeanOver, error, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> len(MeanOver((error(attacked, "fgsm"), error(attacked, "pgd"))).of)
        2
    """

    how = "mean"


class SmallestOver(_Over):
    """The smallest at each image of several measures: of accuracies, what stands under all attacks.

    It is the worst case; `Smallest` is the strongest attack, which leaves as many or more.

    Args:
        of: the measures.

    Example:
        >>> from holdfast.reproduce import SmallestOver, accuracy, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> len(SmallestOver((accuracy(attacked, "fgsm"), accuracy(attacked, "pgd"))).of)
        2
    """

    how = "min"


#: Measures with a number for each image, whose differences are taken image by image.
ByImage: TypeAlias = Mean | MeanOver | SmallestOver


def difference(first: ByImage, second: ByImage, root: Path) -> Measured:
    """How much larger the first is than the second, image by image.

    Of fractions of the same images, of one network, the interval is that of `paired`: also where
    the two are right on the same images it says by how much they may differ on others.

    Raises:
        InputError: if they are not over the same images and seeds.
    """
    left, right = first.by_image(root), second.by_image(root)
    if len(left) != len(right) or any(
        not one.index.equals(other.index) for one, other in zip(left, right, strict=True)
    ):
        raise InputError("a difference is over the same images and seeds, and these are not.")
    if first.counted and second.counted and len(left) == 1:
        found = paired(right[0].to_numpy(dtype=bool), left[0].to_numpy(dtype=bool))
        return Measured(found.difference, found.low, found.high, found.n, 1)
    within = (-1.0, 1.0) if first.fraction and second.fraction else ANYWHERE
    return measured([a - b for a, b in zip(left, right, strict=True)], within=within)


@dataclass(frozen=True)
class _Chosen:
    """One of several measures, by its value; its interval, too, which the choice flatters."""

    of: tuple[Measure, ...]

    sign: ClassVar[int]  # of the values, of which the largest is chosen

    @property
    def steps(self) -> tuple[Step, ...]:
        """See `Measure`."""
        return tuple(step for measure in self.of for step in measure.steps)

    def read(self, root: Path) -> Measured:
        """See `Measure`."""
        found = (measure.read(root) for measure in self.of)
        return max(found, key=lambda one: self.sign * one.value)


class Largest(_Chosen):
    """The largest of several measures, such as the error under the best attack of several.

    Example:
        >>> from holdfast.reproduce import Largest, error, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> worst = Largest((error(attacked, "fgsm"), error(attacked, "pgd")))
        >>> len(worst.of)
        2
    """

    sign = 1


class Smallest(_Chosen):
    """The smallest of several measures, such as the accuracy under the best attack of several.

    Worse for some images may be another of them: see `SmallestOver`.

    Example:
        >>> from holdfast.reproduce import Smallest, accuracy, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> worst = Smallest((accuracy(attacked, "fgsm"), accuracy(attacked, "pgd")))
        >>> len(worst.of)
        2
    """

    sign = -1


@dataclass(frozen=True)
class Scaled:
    """A measure times a number, such as a certified accuracy times its confidence (STN 4).

    Example:
        >>> from holdfast.reproduce import Scaled, certified, certify, train
        >>> proven = certify("c", model=train("stn", model="small"), sigma=0.3, votes=100)
        >>> Scaled(certified(proven, 0.5), 0.95).steps == (proven,)
        True
    """

    of: Measure
    by: float

    @property
    def steps(self) -> tuple[Step, ...]:
        """See `Measure`."""
        return self.of.steps

    def read(self, root: Path) -> Measured:
        """See `Measure`."""
        found = self.of.read(root)
        value, low, high = (self.by * part for part in found[:3])
        return Measured(value, low, high, found.images, found.seeds)
