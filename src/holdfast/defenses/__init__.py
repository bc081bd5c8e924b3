"""Defences at inference: layers in front of a network, which declare what an attacker must know.

A module beside this one exports what its ``__all__`` names.
"""

from holdfast.registry import exported_by

_exports = exported_by(__name__)
globals().update(_exports)
__all__ = sorted(_exports)
