"""The scale of a reproduction: sizes, and what a small size makes do otherwise, with a reason."""

from collections.abc import Mapping
from typing import TypeVar

from holdfast.errors import unknown

SCALES = ("quick", "cpu", "paper")

T = TypeVar("T")


class Scale:
    """Chooses each size of a recipe, and remembers which are smaller than the paper's.

    What is no size is the paper's, unless `otherwise` says why it cannot be.

    Args:
        name: quick (digits, seconds), cpu (MNIST and a CIFAR-10 subset on two cores, under about an
            hour), or paper (the paper's sizes).

    Raises:
        UnknownNameError: if there is no such scale.

    Example:
        >>> from holdfast.reproduce import Scale
        >>> scale = Scale("cpu")
        >>> scale("epochs", quick=2, cpu=6, paper=12)
        6
        >>> scale.reduced
        {'epochs': (6, 12)}
    """

    def __init__(self, name: str) -> None:
        if name not in SCALES:
            raise unknown("scale", name, SCALES)
        self.name = name
        self._reduced: dict[str, tuple[object, object]] = {}
        self._departures: dict[str, tuple[object, object, str]] = {}

    def __call__(self, what: str, *, quick: T, cpu: T, paper: T) -> T:
        """The size at this scale; ``what`` says on the page what it is the size of."""
        chosen = self._chosen(quick, cpu, paper)
        if chosen != paper:
            self._reduced[what] = (chosen, paper)
        return chosen

    def otherwise(self, what: str, *, quick: T, cpu: T, paper: T, why: str) -> T:
        """The way at this scale, which is no size, such as an optimizer.

        Args:
            what: says on the page what it is.
            quick: at this scale.
            cpu: at this scale.
            paper: the paper's.
            why: the paper's cannot be kept at the smaller scales, for the page.

        Example:
            >>> from holdfast.reproduce import Scale
            >>> scale = Scale("cpu")
            >>> rates = {"quick": 1e-3, "cpu": 4e-4, "paper": 1e-4}
            >>> scale.otherwise("rate", **rates, why="few epochs need a larger one")
            0.0004
            >>> scale.departures
            {'rate': (0.0004, 0.0001, 'few epochs need a larger one')}
        """
        chosen = self._chosen(quick, cpu, paper)
        if chosen != paper:
            self._departures[what] = (chosen, paper, why)
        return chosen

    def _chosen(self, quick: T, cpu: T, paper: T) -> T:
        return {"quick": quick, "cpu": cpu, "paper": paper}[self.name]

    @property
    def reduced(self) -> Mapping[str, tuple[object, object]]:
        """What is not as in the paper: what -> (here, there)."""
        return dict(self._reduced)

    @property
    def departures(self) -> Mapping[str, tuple[object, object, str]]:
        """What is no size and not as in the paper: what -> (here, there, why)."""
        return dict(self._departures)
