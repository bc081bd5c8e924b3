"""Diagnoses: what a model, an attack or a defence does on the way, as arrays and tables.

A module beside this one exports what its ``__all__`` names.
"""

from holdfast.registry import exported_by

_exports = exported_by(__name__)
globals().update(_exports)
__all__ = sorted(_exports)
