"""What a bound proves over the probability, and what an interval proves over the votes.

Each beside the others of its kind.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from holdfast.certify import Sampling
from holdfast.certify.bounds.bound import BOUNDS
from holdfast.certify.intervals.interval import INTERVALS
from tools.site import canvas

_CLASSES, _SHARE = 10, 0.98


def draw_bound(name: str) -> bytes:
    """Radii in units of σ over p₁, for p₂ = 1 - p₁."""
    figure, axes = canvas.graph("p₁, of p₂ = 1 - p₁", "radius / σ, in ℓ1 of laplace, else in ℓ2")
    p1 = np.linspace(0.5, 0.999, 120)
    _beside(axes, name, p1, {each: BOUNDS[each](p1, 1 - p1, 1.0) for each in BOUNDS})
    axes.set(ylim=(0, 3.2))
    return canvas.svg(figure, name)


def draw_interval(name: str) -> bytes:
    """Lower limits of p₁ over the number of votes, of which 98 in 100 are for one class."""
    figure, axes = canvas.graph("votes, 98 % for one class", "p₁ at 95 %")
    n = np.array([20, 50, 100, 200, 500, 1000, 2000, 5000])
    _beside(axes, name, n, {each: limits(each, n) for each in INTERVALS})
    axes.axhline(_SHARE, color=canvas.FAINT, ls=":", lw=1)
    axes.set(xscale="log", ylim=(0.6, 1.005))
    return canvas.svg(figure, name)


def limits(name: str, n: Any) -> Any:
    """The lower limits that an interval reads off so many votes."""
    counts = np.zeros((len(n), _CLASSES), dtype=np.int64)
    counts[:, 0] = np.round(_SHARE * n)
    counts[:, 1] = n - counts[:, 0]
    sampling = Sampling(counts, counts / n[:, None], counts, np.full(len(n), 0.5))
    return INTERVALS[name](0.95)(sampling).p1


def _beside(axes: Axes, name: str, across: Any, found: Mapping[str, Any]) -> None:
    for other, values in found.items():
        if other != name:
            axes.plot(across, values, color=canvas.FAINT, lw=0.9)
    axes.plot(across, found[name], color=canvas.MAIN, lw=2.2, label=name)
    others = ", ".join(sorted(set(found) - {name}))
    axes.plot([], [], color=canvas.FAINT, lw=0.9, label=_wrapped(others))
    axes.legend(frameon=False, fontsize=7, loc="lower right" if across[-1] > 1 else "upper left")


def _wrapped(names: str) -> str:
    """In lines of three."""
    words = names.split(", ")
    return ",\n".join(", ".join(words[i : i + 3]) for i in range(0, len(words), 3))
