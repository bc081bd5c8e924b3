"""Training: one trainer, and objectives that it knows nothing about.

A module beside this one, or in ``objectives``, exports what its ``__all__`` names.
"""

from holdfast.processes import Processes
from holdfast.registry import exported_by

_exports = {"Processes": Processes, **exported_by(__name__)}
globals().update(_exports)
__all__ = sorted(_exports)
