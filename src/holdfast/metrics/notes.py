"""What a run did not do and its numbers do not show, in sentences."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["crafted_elsewhere", "left_out", "noted", "skipped", "title", "untried"]


def title(attack: str, norm: str, eps: float) -> str:
    """How sentences name an attack at a size.

    Example:
        >>> from holdfast.metrics import title
        >>> title("pgd", "linf", 0.1)
        'pgd linf 0.1'
    """
    return f"{attack} {norm} {eps:g}"


def skipped(cells: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each attack that could not run, wholly or in part, as its cell says.

    Example:
        >>> from holdfast.metrics import skipped
        >>> cell = {"attack": "pgd", "norm": "l2", "eps": 1.0, "skipped": {"pgd": "no gradient."}}
        >>> skipped([cell])
        ['pgd l2 1: skipped pgd: no gradient.']
    """
    notes = []
    for cell in cells:
        eps = math.inf if cell["eps"] is None else cell["eps"]  # JSON knows no infinity
        notes += [
            f"{title(cell['attack'], cell['norm'], eps)}: skipped {', '.join(names)}: {reason}"
            for reason, names in _by_reason(cell.get("skipped", {})).items()
        ]
    return notes


def noted(cells: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for whatever was mended of an attack's images, as its cell says.

    Example:
        >>> from holdfast.metrics import noted
        >>> cell = {"attack": "mine", "norm": "l2", "eps": 1.0, "n": 9, "noted": {"it was NaN": 2}}
        >>> noted([cell])
        ['mine l2 1: it was NaN (2 of 9 images).']
    """
    return [
        f"{title(cell['attack'], cell['norm'], math.inf if cell['eps'] is None else cell['eps'])}: "
        f"{what} ({count} of {cell['n']} images)."
        for cell in cells
        for what, count in cell.get("noted", {}).items()
    ]


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        found.setdefault(reason, []).append(name)
    return found


def left_out(settings: Mapping[str, Any]) -> list[str]:
    """A sentence if variants that the model calls for were not run, as the run's settings say.

    Example:
        >>> from holdfast.metrics import left_out
        >>> left_out({}), left_out({"left_out": ["bpda"]})[0][:4]
        ([], 'bpda')
    """
    names = settings.get("left_out", ())
    if not names:
        return []
    return [
        f"{', '.join(names)}: the model calls for these variants, and they were left out on "
        "request (--variants); what an attack left robust may not be robust to them."
    ]


def crafted_elsewhere(settings: Mapping[str, Any]) -> list[str]:
    """The attacks that were crafted on another model, as the run's settings say.

    Example:
        >>> from holdfast.metrics import crafted_elsewhere
        >>> fgsm = {"name": "fgsm", "attack": "FGSM(threat=Linf(eps=0.1))"}
        >>> on = {"name": "on", "attack": "On(FGSM(threat=Linf(eps=0.1)), name='net')"}
        >>> crafted_elsewhere({"attacks": [fgsm, on]})
        ['on']
    """
    named = settings.get("attacks", ())
    return [one["name"] for one in named if str(one["attack"]).startswith("On(")]


def untried(cells: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each attack that spared its dear parts to images far from falling.

    It bounds how many of these they would break (`Pilot`). Percentages are rounded up, so that what
    is said holds.

    Example:
        >>> from holdfast.metrics import untried
        >>> spared = {"tried": 80, "far": 812, "at_most": 0.0368, "confidence": 0.95}
        >>> cell = {"attack": "suite", "norm": "l2", "eps": 1.0, "n": 1000}
        >>> (said,) = untried([{**cell, "spared": spared}])
        >>> print(said.rpartition("; ")[2])
        with 95 % confidence they would break at most 3.7 % of them, and so lower the robust ...
    """
    notes = []
    for cell in cells:
        if (spared := cell.get("spared")) is None:
            continue
        lower = spared["at_most"] * spared["far"] / cell["n"]
        notes.append(
            f"{title(cell['attack'], cell['norm'], cell['eps'])}: {spared['far']:,} images were "
            f"too far from falling for the parts that followed; these were run on "
            f"{spared['tried']:,} of them, drawn by the seed, and broke none; with "
            f"{100 * spared['confidence']:g} % confidence they would break at most "
            f"{_up(spared['at_most'])} % of them, and so lower the robust accuracy by at most "
            f"{_up(lower)} points."
        )
    return notes


def _up(fraction: float) -> str:
    """In %, rounded up; what is a tenth of a % but for floating point stays it."""
    return f"{math.ceil(1000 * fraction - 1e-9) / 10:.1f}"
