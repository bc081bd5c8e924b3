"""Figure 4: the Rényi bound and PixelDP's over the probabilities p1 and p2, without any network.

The paper draws them as two surfaces, at a σ that it does not name; a radius is proportional to σ,
so that they are here in units of it, as curves over p1 for two choices of p2.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.certify import cohen_radius, pixeldp_radius, renyi_radius
from holdfast.reproduce import Claim, Computed, Curves, Line, Result, Scale, at_least, at_most

MINUTES = {"quick": 0.05, "cpu": 0.1, "paper": 0.1}

Array = NDArray[np.float64]
Radius = Callable[[Any, Any, float], Any]

RADII: dict[str, Radius] = {
    "Rényi": renyi_radius,
    "PixelDP": pixeldp_radius,
    "Cohen et al.": cohen_radius,
}
P1 = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
#: p2 as a share of what p1 leaves.
SHARES = {"p2 = 1 - p1": 1.0, "p2 = (1 - p1) / 4": 0.25}


def recipe(scale: Scale) -> Result:
    lines = [
        Line(
            f"{name}, {where}",
            [
                (p1, Computed((), partial(_radius, of, p1, share * (1 - p1))))
                for p1 in P1
                if p1 > share * (1 - p1)
            ],
        )
        for where, share in SHARES.items()
        for name, of in RADII.items()
    ]
    figure = Curves("Figure 4", x="p1", y="radius in units of σ", lines=lines, unit="number")
    n = scale("points of the grid in each direction", quick=60, cpu=200, paper=200)
    return Result([figure], _claims(n))


def _claims(n: int) -> list[Claim]:
    return [
        Claim(
            "Our bound is strictly higher than the one from PixelDP.",
            "appendix A",
            [
                at_least(
                    Computed((), partial(_least_ratio, n, renyi_radius, other)),
                    1.0,
                    f"the least ratio over a grid of p1 and p2, {words}",
                )
                for other, words in (
                    (pixeldp_radius, "ε at most 1, as PixelDP's theorem asks"),
                    (_without_limit, "ε without a limit, for which there is no theorem"),
                )
            ],
            why="The text leaves ε > 0 free. The Gaussian mechanism is proved private for ε at "
            "most 1, and there the claim holds; beyond, PixelDP's formula exceeds Rényi's where p2 "
            "is far below 1 - p1.",
        ),
        Claim(
            "When p1 and p2 are far apart, our bound is more than twice as high.",
            "appendix A",
            [
                at_least(
                    Computed((), partial(_ratio, p1, p2)), 2.0, f"the ratio at {p1:g} and {p2:g}"
                )
                for p1, p2 in ((0.8, 0.1), (0.9, 0.05), (0.99, 0.005))
            ],
            safe=True,
        ),
        Claim(
            "(Not in the paper.) Cohen et al.'s bound is never lower than Rényi's.",
            "docs/certificates.md",
            [
                at_most(
                    Computed((), partial(_most_of_cohen, n)), 1.0, "the largest share of Cohen's"
                )
            ],
            safe=True,
        ),
    ]


def _radius(of: Radius, p1: float, p2: float) -> float:
    return float(of(p1, p2, 1.0))


def _ratio(p1: float, p2: float) -> float:
    return _radius(renyi_radius, p1, p2) / _radius(pixeldp_radius, p1, p2)


def _least_ratio(n: int, one: Radius, other: Radius) -> float:
    p1, p2 = _grid(n)
    denominator = other(p1, p2, 1.0)
    proven = denominator > 0
    return float((one(p1[proven], p2[proven], 1.0) / denominator[proven]).min())


def _most_of_cohen(n: int) -> float:
    return 1 / _least_ratio(n, cohen_radius, renyi_radius)


def _grid(n: int) -> tuple[Array, Array]:
    """Valid pairs: p1 > p2, p1 + p2 from 0.2 to 1 (appendix A); dense near the edges."""
    left = np.concatenate([np.linspace(0.05, 0.85, n), np.geomspace(1e-6, 0.05, n)])
    shares = np.concatenate([np.linspace(0.05, 1, n), np.geomspace(1e-6, 0.05, n)])
    p1, share = (axis.ravel() for axis in np.meshgrid(1 - left, shares))
    p2 = share * (1 - p1)
    valid = (p1 > p2 * (1 + 1e-6)) & (p1 + p2 >= 0.2)
    return p1[valid], p2[valid]


def _without_limit(p1: Array, p2: Array, sigma: float) -> Array:
    """PixelDP's formula, ε free: σε / √(2 log(1.25/δ)) where p1 = e^(2ε) p2 + (1 + e^ε) δ."""
    best = np.zeros_like(p1)
    for eps in np.geomspace(1e-3, 20, 400):
        delta = (p1 - np.exp(2 * eps) * p2) / (1 + np.exp(eps))
        proven = np.clip(delta, 1e-300, 1)
        radius = sigma * eps / np.sqrt(2 * np.log(1.25 / proven))
        best = np.maximum(best, np.where(delta > 0, radius, 0))
    return best
