"""Learning rate over time, as a factor of the schedule's lr: (epochs done, epochs) -> factor.

The number of epochs done is fractional: it grows with every step. A factor depends on nothing else,
so that a resumed run goes on with the right one.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from holdfast.errors import InputError

__all__ = ["Constant", "Cosine", "MultiStep", "OneCycle", "StepDecay", "WarmUp"]


@runtime_checkable
class Rate(Protocol):
    """(epochs done, of how many) -> factor of the learning rate, at least 0.

    Example:
        >>> from holdfast.training import Cosine
        >>> from holdfast.training.rates import Rate
        >>> isinstance(Cosine(), Rate)
        True
    """

    def __call__(self, done: float, epochs: int) -> float:
        """The factor when ``done`` of ``epochs`` epochs are done, 0 <= done < epochs."""
        ...


@dataclass(frozen=True)
class Constant:
    """The learning rate itself, throughout: a factor of 1.

    Example:
        >>> from holdfast.training import Constant
        >>> Constant()(5, 10)
        1.0
    """

    def __call__(self, done: float, epochs: int) -> float:
        """See `Rate`."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class StepDecay:
    """Falls at regular times: factor^⌊done / every⌋.

    Attributes:
        every: epochs between two falls, positive.
        factor: of each fall, in (0, 1].

    Example:
        >>> from holdfast.training import StepDecay
        >>> rate = StepDecay(every=10, factor=0.5)
        >>> rate(9.9, 30), rate(10, 30), rate(20, 30)
        (1.0, 0.5, 0.25)
    """

    every: float
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not self.every > 0:
            raise InputError(f"every is {self.every}, but must be a positive number of epochs.")
        _check_factor(self.factor)

    def __call__(self, done: float, epochs: int) -> float:
        """See `Rate`."""
        return self.factor ** math.floor(done / self.every)


@dataclass(frozen=True, kw_only=True)
class MultiStep:
    """Falls at given epochs: factor^(number of milestones passed).

    Attributes:
        at: the milestones, in epochs done, rising.
        factor: of each fall, in (0, 1].

    Example:
        >>> from holdfast.training import MultiStep
        >>> rate = MultiStep(at=(5, 8), factor=0.5)
        >>> rate(4, 10), rate(5, 10), rate(8, 10)
        (1.0, 0.5, 0.25)
    """

    at: tuple[float, ...]
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not self.at or list(self.at) != sorted(set(self.at)) or not self.at[0] > 0:
            raise InputError(f"at is {self.at}, but must be one or more rising numbers of epochs.")
        _check_factor(self.factor)

    def __call__(self, done: float, epochs: int) -> float:
        """See `Rate`."""
        return self.factor ** sum(done >= milestone for milestone in self.at)


@dataclass(frozen=True)
class Cosine:
    """(1 + cos(π · done / epochs)) / 2, from 1 down to 0.

    Reference:
        Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, without restarts.

    Example:
        >>> from holdfast.training import Cosine
        >>> Cosine()(0, 10), round(Cosine()(5, 10), 3)
        (1.0, 0.5)
    """

    def __call__(self, done: float, epochs: int) -> float:
        """See `Rate`."""
        return _fall(done / epochs)


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """Half a cosine up from ``start`` to 1, then half a cosine down to ``end``.

    Attributes:
        peak: fraction of the epochs at which the factor is 1, in (0, 1).
        start: factor at the beginning, in [0, 1].
        end: factor at the end, in [0, 1].

    Reference:
        Smith and Topin, "Super-convergence", 2018, with the shape and numbers of torch's
        OneCycleLR. The momentum does not cycle.

    Example:
        >>> from holdfast.training import OneCycle
        >>> rate = OneCycle(peak=0.3, start=0.04)
        >>> round(rate(0, 10), 3), round(rate(3, 10), 3), rate(9.99, 10) < 0.001
        (0.04, 1.0, True)
    """

    peak: float = 0.3
    start: float = 1 / 25
    end: float = 4e-6

    def __post_init__(self) -> None:
        if not 0 < self.peak < 1:
            raise InputError(
                f"peak is {self.peak}, but is a fraction of the epochs between 0 and 1."
            )
        for name in ("start", "end"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}, but must be between 0 and 1.")

    def __call__(self, done: float, epochs: int) -> float:
        """See `Rate`."""
        fraction = done / epochs
        if fraction < self.peak:
            return self.start + (1 - self.start) * (1 - _fall(fraction / self.peak))
        return self.end + (1 - self.end) * _fall((fraction - self.peak) / (1 - self.peak))


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """Another rate, times a line from ``start`` to 1 over the first epochs.

    The other rate is not shifted: its milestones stay where they are.

    Attributes:
        rate: the other.
        epochs: length of the warm-up, positive.
        start: factor at the beginning, in [0, 1).

    Reference:
        Goyal et al., "Accurate, large minibatch SGD", 2017, section 2.2.

    Example:
        >>> from holdfast.training import Constant, WarmUp
        >>> rate = WarmUp(rate=Constant(), epochs=2, start=0.1)
        >>> rate(0, 10), round(rate(1, 10), 3), rate(2, 10)
        (0.1, 0.55, 1.0)
    """

    rate: Rate
    epochs: float
    start: float = 0.1

    def __post_init__(self) -> None:
        if not self.epochs > 0:
            raise InputError(f"a warm-up of {self.epochs} epochs is none; give a positive number.")
        if not 0 <= self.start < 1:
            raise InputError(f"start is {self.start}, but must be at least 0 and below 1.")

    def __call__(self, done: float, epochs: int) -> float:
        """See `Rate`."""
        line = self.start + (1 - self.start) * done / self.epochs
        return min(1.0, line) * self.rate(done, epochs)


def too_late(rate: Rate, epochs: int) -> list[str]:
    """A sentence for each turn of a rate that a training of so many epochs does not come to.

    Example:
        >>> from holdfast.training.rates import MultiStep, too_late
        >>> too_late(MultiStep(at=(5, 8)), epochs=6)
        ['the learning rate is to fall after 8 epochs, and 6 are trained: it never does.']
    """
    match rate:
        case MultiStep(at=milestones):
            turns = list(milestones)
        case StepDecay(every=every):
            turns = [every]
        case WarmUp(rate=other, epochs=length):
            rises = f"the learning rate is to rise for {length:g} epochs, and {epochs} are trained."
            return [rises] * (length > epochs) + too_late(other, epochs)
        case _:
            turns = []
    return [
        f"the learning rate is to fall after {turn:g} epochs, and {epochs} are trained: it never "
        "does."
        for turn in turns
        if turn >= epochs
    ]


def _fall(fraction: float) -> float:
    """Half a cosine from 1 down to 0."""
    return 0.5 * (1 + math.cos(math.pi * fraction))


def _check_factor(factor: float) -> None:
    if not 0 < factor <= 1:
        raise InputError(f"factor is {factor}, but must be above 0 and at most 1.")
