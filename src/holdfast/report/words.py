"""How the report writes numbers, sizes and norms."""

import math
from collections.abc import Sequence

import pandas as pd

__all__ = ["NORMS", "USUAL", "interval", "listed", "percent", "size", "tied", "usual"]

NORMS = {"linf": "ℓ∞", "l2": "ℓ2", "l1": "ℓ1", "l0": "ℓ0"}

#: Sizes that papers and leaderboards report at, by norm; of those that most models met, the first
#: is the headline's.
USUAL = {
    "linf": (8 / 255, 4 / 255, 0.3, 0.1, 16 / 255, 2 / 255),
    "l2": (0.5, 1.0, 2.0, 3.0, 0.25),
    "l1": (12.0, 1.0),
    "l0": (24.0, 50.0, 10.0),
}


def percent(fraction: float) -> str:
    """A fraction, to a tenth of a percent.

    Example:
        >>> from holdfast.report.words import percent
        >>> percent(0.4567)
        '45.7 %'
    """
    return f"{100 * fraction:.1f} %"


def interval(line: "pd.Series[float]") -> str:
    """The 95 % interval of a line with ``low`` and ``high``.

    Example:
        >>> import pandas as pd
        >>> from holdfast.report.words import interval
        >>> interval(pd.Series({"low": 0.25, "high": 0.5}))
        '25.0–50.0 %'
    """
    return f"{100 * line['low']:.1f}–{100 * line['high']:.1f} %"


def size(norm: str, eps: float) -> str:
    """A size as people write it: in steps of 1/255 where it is one.

    Example:
        >>> from holdfast.report.words import size
        >>> size("linf", 8 / 255), size("linf", 0.3), size("l2", 0.5)
        ('8/255', '0.3', '0.5')
    """
    if norm == "l0":
        return f"{eps:.0f}"  # a count, however large
    steps = eps * 255
    if norm == "linf" and 0.5 < steps < 40 and math.isclose(steps, round(steps), rel_tol=1e-3):
        return f"{round(steps)}/255"
    return f"{eps:.4g}"


def usual(norm: str, sizes: Sequence[float]) -> float:
    """Of the sizes, the one that people report at; else the middle one.

    Example:
        >>> from holdfast.report.words import usual
        >>> usual("l2", [0.25, 0.5, 1.0]), usual("linf", [0.01, 0.02, 0.03])
        (0.5, 0.02)
    """
    for known in USUAL[norm]:
        for eps in sizes:
            if math.isclose(eps, known, rel_tol=1e-3):
                return eps
    return sorted(sizes)[len(sizes) // 2]


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them.

    Example:
        >>> from holdfast.report.words import listed
        >>> listed(["fgsm", "pgd", "square"])
        'fgsm, pgd and square'
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def tied(text: str) -> str:
    r"""Text whose numbers do not part from their signs at the end of a line.

    Example:
        >>> from holdfast.report.words import tied
        >>> tied("45.7 % of them")
        '45.7\xa0% of them'
    """
    for sign in (" %", " ≤ ", " = "):
        text = text.replace(sign, sign.replace(" ", "\N{NO-BREAK SPACE}"))
    return text
