"""What a certification proves of its own norm, and what that implies in others."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from holdfast import metrics
from holdfast.report.folders import CertifiedRun
from holdfast.statistics import Array

#: How many factors of √d a ball gains over the ℓ1 ball of its size, at most.
_WIDTH = {"l1": 0, "l2": 1, "linf": 2}

#: p of the norms that certificates are in.
_ORDER = {"l1": 1, "l2": 2}


def floor(
    run: CertifiedRun, norm: str, sizes: Sequence[float] | Array | None = None
) -> pd.DataFrame:
    """Certified accuracy over the size of a perturbation in some norm.

    Over d entries ‖δ‖₂ <= √d ‖δ‖∞, ‖δ‖₁ <= √d ‖δ‖₂ and ‖δ‖₂ <= ‖δ‖₁, so an ℓ2 radius proves an ℓ∞
    radius smaller by √d and the same ℓ1 radius, and an ℓ1 radius proves an ℓ2 radius smaller by √d
    and an ℓ∞ radius smaller by d. A component changes by at most 1, so k of them by at most √k in
    ℓ2 and k in ℓ1: a radius proves its square, or itself, in ℓ0.

    Args:
        run: a certification.
        norm: "l2", "linf", "l1" or "l0".
        sizes: where to read the curve; everywhere that it has a corner by default.
    """
    if sizes is None:
        corners = np.array([radius for radius, _ in metrics.certified_curve(run.rows)])
        # Just behind a corner the curve has dropped; reading it on both sides draws the steps.
        radii = np.unique(np.concatenate([corners, corners + 1e-6]))
        sizes = _size_within(run, norm, radii)
    else:
        radii = _radius_around(run, norm, np.asarray(sizes))
    table = metrics.certified(run.rows, radii)
    table["eps"] = sizes
    return table


def largest_radius(run: CertifiedRun, norm: str) -> float:
    """Up to where anything is certified, in a norm."""
    right = run.rows["prediction"] == run.rows["label"]
    largest = run.rows.loc[right, "radius"].max() if right.any() else 0.0
    return float(_size_within(run, norm, np.array([largest]))[0])


def _radius_around(run: CertifiedRun, norm: str, size: Array) -> Array:
    """The certificate's own radius that holds a ball of another norm, cut by the box."""
    if norm == "l0":
        return size ** (1 / _ORDER[run.norm])
    return size * _scale(run, norm)


def _size_within(run: CertifiedRun, norm: str, radius: Array) -> Array:
    """The largest ball of another norm, cut by the box, within a certificate's own radius."""
    if norm == "l0":
        return radius ** _ORDER[run.norm]
    return radius / _scale(run, norm)


def _scale(run: CertifiedRun, norm: str) -> float:
    """How much longer a certificate's radius is than the ball of another norm inside it."""
    steps = max(_WIDTH[norm] - _WIDTH[run.norm], 0)
    return float(math.sqrt(math.prod(run.settings["shape"])) ** steps)
