"""A result, and the same at a glance: a table and what must be known to read it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Context
from html import escape
from typing import Any

import pandas as pd

__all__ = ["Result", "Summary", "percent", "radius", "size"]

#: Jupyter aligns the cells of a table to the right, sentences too.
_LEFT = ' style="text-align: left"'


@dataclass(frozen=True)
class Summary:
    """A table with a title, and notes below it.

    Attributes:
        title: what the table is about.
        lines: each a mapping from the names of the columns to what stands there.
        notes: sentences.

    Example:
        >>> from holdfast.summary import Summary
        >>> print(Summary("under attack", [{"attack": "pgd", "accuracy": "45.0 %"}]))
        under attack
        attack  accuracy
        pgd     45.0 %
    """

    title: str
    lines: Sequence[Mapping[str, str]]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        names = list(self.lines[0])
        widths = [max(len(text) for text in (name, *self._column(name))) for name in names]
        table = [names, *([line[name] for name in names] for line in self.lines)]
        shown = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        return "\n".join([self.title, *shown, *self.notes])

    def html(self) -> str:
        """For a notebook."""
        heads = "".join(f"<th{_LEFT}>{escape(name)}</th>" for name in self.lines[0])
        rows = "".join(
            "<tr>" + "".join(f"<td{_LEFT}>{escape(text)}</td>" for text in line.values()) + "</tr>"
            for line in self.lines
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return (
            f"<table><caption>{escape(self.title)}</caption><thead><tr>{heads}</tr></thead>"
            f"<tbody>{rows}</tbody></table>" + (f"<ul>{notes}</ul>" if notes else "")
        )

    def _column(self, name: str) -> list[str]:
        return [line[name] for line in self.lines]


@dataclass(frozen=True)
class Result(ABC):
    """What a finished run found.

    Attributes:
        rows: one line for each example and each way in which it was met.
        cells: what the rows amount to, one record for each such way.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.1))})
        >>> print(result.summary().splitlines()[1].split()[:3])
        ['attack', 'norm', 'eps']
    """

    rows: pd.DataFrame = field(repr=False)
    cells: list[dict[str, Any]]

    @property
    def table(self) -> pd.DataFrame:
        """The cells as a table."""
        return pd.DataFrame(self.cells)

    def summary(self) -> str:
        """A line for each cell."""
        return str(self._summary)

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        return self._summary.html()

    @property
    @abstractmethod
    def _summary(self) -> Summary:
        """What is shown of it."""


def percent(fraction: float) -> str:
    """A fraction as a percentage with one decimal.

    Example:
        >>> from holdfast.summary import percent
        >>> percent(0.456)
        '45.6 %'
    """
    return f"{100 * fraction:.1f} %"


def size(eps: float | None) -> str:
    """The size of a ball as people write it: 8/255, 0.3, no limit.

    Example:
        >>> from holdfast.summary import size
        >>> size(8 / 255), size(0.3), size(None)
        ('8/255', '0.3', 'no limit')
    """
    if eps is None or math.isinf(eps):
        return "no limit"
    levels = round(255 * eps)
    short = f"{eps:.4g}" if eps < 1000 else f"{eps:g}"
    if float(short) != eps and abs(levels - 255 * eps) < 1e-9 and levels:
        return f"{levels}/255"
    return short


def radius(certified: float, digits: int = 4) -> str:
    """A certified radius as people write it, with a few digits and never larger than it is.

    Example:
        >>> from holdfast.summary import radius
        >>> radius(0.69999), radius(0.5), radius(8 / 255), radius(8 / 255 - 1e-12)
        ('0.6999', '0.5', '8/255', '0.03137')
    """
    if math.isinf(certified):
        return size(certified)
    levels = round(255 * certified)
    if certified < 1 and size(certified) == f"{levels}/255" and levels / 255 <= certified:
        return f"{levels}/255"
    cut = Context(prec=digits, rounding=ROUND_DOWN).create_decimal(repr(float(certified)))
    return f"{float(cut):.12g}"
