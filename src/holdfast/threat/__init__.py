"""Threat models: the ball that an attacker may move within, always cut by the box [0, 1].

``eps`` may be infinite: then the box alone is the limit, as for an attack that looks for the
smallest perturbation there is.

A projection is feasible and idempotent, and non-expansive but in ℓ0, whose ball is not convex.
Feasible is meant exactly: the ball is shrunk by the rounding of ``x`` itself, so that the distance
recomputed in float64 never exceeds ``eps``, in float16 as in float64.
"""

from collections.abc import Mapping
from types import MappingProxyType

from holdfast.threat.ball import dual, finite
from holdfast.threat.l0 import L0
from holdfast.threat.l1 import L1
from holdfast.threat.l2 import L2
from holdfast.threat.linf import Linf

__all__ = [
    "L0",
    "L1",
    "L2",
    "Linf",
    "dual",
    "finite",
]

#: Every ball, by the name of its norm.
BALLS: Mapping[str, type[Linf | L2 | L1 | L0]] = MappingProxyType(
    {kind.name: kind for kind in (Linf, L2, L1, L0)}
)
