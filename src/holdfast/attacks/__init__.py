"""Attacks: callables (model, x, y) -> x_adv whose repr records every parameter.

A module beside this one, or in ``engine``, exports what its ``__all__`` names.
"""

from holdfast.registry import exported_by

_exports = exported_by(__name__)
globals().update(_exports)
__all__ = sorted(_exports)
