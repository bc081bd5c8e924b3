"""Figure 4: Rényi's bound and PixelDP's, at σ = 1, over the probability of the top class.

Formulas alone: nothing is trained. Two cases: all other probability on one class, and spread evenly
over nine. Cohen et al.'s bound, which came later and is tight, is drawn beside them.
"""

import numpy as np

from holdfast.certify import cohen_radius, pixeldp_radius, renyi_radius
from holdfast.reproduce import Claim, Computed, Curves, Line, Result, Scale, at_least

MINUTES = {"quick": 0.02, "cpu": 0.02, "paper": 0.02}

#: Of float64, where both bounds are 0.
_ROUNDING = 1e-12

#: The paper asks for p₁ + p₂ >= 0.2 and p₁ >= p₂.
CASES = {"one": (1, "all other probability on one class"), "nine": (9, "spread over nine classes")}


def recipe(scale: Scale) -> Result:
    del scale  # nothing to reduce
    figures, checks = [], []
    for name, (others, words) in CASES.items():
        p1 = np.linspace(1 / (1 + others), 0.999, 13)
        p2 = (1 - p1) / others
        curves = {
            "Rényi (SO)": renyi_radius(p1, p2, 1.0),
            "PixelDP": pixeldp_radius(p1, p2, 1.0),
            "PixelDP, ε beyond 1": _any_epsilon(p1, p2),
            "Cohen et al.": cohen_radius(p1, p2, 1.0),
        }
        figures.append(
            Curves(
                f"Radius at σ = 1, {words}",
                x="p₁",
                y="radius",
                lines=[
                    Line(
                        label,
                        [(round(float(x), 4), _known(y)) for x, y in zip(p1, of, strict=True)],
                    )
                    for label, of in curves.items()
                ],
                unit="number",
                name=name,
            )
        )
    p1, p2 = _grid()
    renyi, free = renyi_radius(p1, p2, 1.0), _any_epsilon(p1, p2)
    ten = p1 + 9 * p2 >= 1
    for words, margin in (
        ("PixelDP with ε up to 1, where it is proved", renyi - pixeldp_radius(p1, p2, 1.0)),
        ("PixelDP with any ε, where p₁ + 9 p₂ >= 1, as of ten classes", (renyi - free)[ten]),
        ("PixelDP with any ε, wherever p₁ + p₂ >= 0.2", renyi - free),
    ):
        checks.append(at_least(_known(margin.min()), -_ROUNDING, f"nowhere below {words}"))
    return Result(
        figures,
        [
            Claim(
                "The bound is strictly higher than PixelDP's.",
                "section 4, appendix D",
                checks,
                why="The paper searches a grid over ε and δ, and does not say how far; PixelDP's "
                "Gaussian mechanism is proved for ε up to 1. Beyond it the formula exceeds Rényi's "
                "bound only at probabilities that the simulation admits (p₁ + p₂ >= 0.2) and ten "
                "classes cannot have, such as p₁ = 0.2 with nearly nothing on each of the others.",
            )
        ],
        notes=[
            "The condition is printed as p₁ >= e^(2ε) p₂ + (1 + e^ε); PixelDP's has δ behind the "
            "last term, and is used here.",
            "Cohen et al.'s bound is tight, and so never below.",
            "The minimiser q of appendix B is misprinted: for p = (0.6, 0.3, 0.1) and α = 2 it has "
            "a divergence of 0.182, and the bound of lemma 1, which is right, is 0.105.",
        ],
    )


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """All p₁ > p₂ > 0 of a grid with 0.2 <= p₁ + p₂ <= 1."""
    along = np.concatenate([np.geomspace(1e-6, 0.01, 13), np.linspace(0.02, 0.98, 33)])
    both = np.array(
        [
            (p1, p2)
            for p1 in np.concatenate([along, 1 - along])
            for p2 in along
            if p1 > p2 and 0.2 <= p1 + p2 <= 1
        ]
    )
    return both[:, 0], both[:, 1]


def _any_epsilon(p1: np.ndarray, p2: np.ndarray) -> np.ndarray:
    """The supremum of σε / √(2 log(1.25 / δ)) over all ε, at σ = 1; proved for ε <= 1 alone."""
    eps = np.geomspace(1e-3, 20, 800)[:, None]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        delta = (p1 - np.exp(2 * eps) * p2) / (1 + np.exp(eps))
        radius = np.where((delta > 0) & (delta < 1), eps / np.sqrt(2 * np.log(1.25 / delta)), 0)
    return np.asarray(np.nan_to_num(radius).max(axis=0))


def _known(value: float) -> Computed:
    return Computed((), lambda: float(value))
