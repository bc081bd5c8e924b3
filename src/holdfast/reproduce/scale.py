"""The scale of a reproduction: sizes, and nothing but sizes."""

from collections.abc import Mapping
from typing import TypeVar

from holdfast.errors import unknown

SCALES = ("quick", "cpu", "paper")

T = TypeVar("T")


class Scale:
    """Chooses each size of a recipe, and remembers which are smaller than the paper's.

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

    def __call__(self, what: str, *, quick: T, cpu: T, paper: T) -> T:
        """The size at this scale; ``what`` says on the page what it is the size of."""
        chosen = {"quick": quick, "cpu": cpu, "paper": paper}[self.name]
        if chosen != paper:
            self._reduced[what] = (chosen, paper)
        return chosen

    @property
    def reduced(self) -> Mapping[str, tuple[object, object]]:
        """What is not as in the paper: what -> (here, there)."""
        return dict(self._reduced)
