"""Objectives that change in the course of training."""

from typing import Protocol, runtime_checkable

from holdfast.types import Objective

__all__ = ["Paced", "paced"]


@runtime_checkable
class Paced(Protocol):
    """An objective that says what it is at each point of the training.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.training import IBP, Paced, Standard
        >>> isinstance(IBP(Linf(0.1)), Paced), isinstance(Standard(), Paced)
        (True, False)
    """

    def during(self, progress: float) -> Objective:
        """The objective when this share of the steps has been made, in [0, 1)."""
        ...


def paced(objective: Objective, progress: float) -> Objective:
    """What an objective is when a share of the steps has been made; mostly itself.

    Example:
        >>> from holdfast.training import Standard, paced
        >>> paced(Standard(), 0.5)
        Standard()
    """
    return objective.during(progress) if isinstance(objective, Paced) else objective
