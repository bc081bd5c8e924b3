"""Bounds: from two probabilities to a radius, one paper a file.

A module beside this one, or below it, exports what its ``__all__`` names.
"""

from holdfast.registry import exported_by

_exports = exported_by(__name__)
globals().update(_exports)
__all__ = sorted(_exports)
