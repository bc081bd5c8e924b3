"""The objectives that the command line knows, entered where each is defined.

What an objective needs besides numbers, such as a trained network that is named by its folder, is
made of the name in `holdfast.cli.objectives`.
"""

from collections.abc import Callable

from holdfast.registry import Registry
from holdfast.types import Objective

__all__ = ["OBJECTIVES"]

#: Name -> parameters -> objective. A parameter ``threat`` stands for norm and eps.
OBJECTIVES: Registry[Callable[..., Objective]] = Registry("objective")
