"""The numbers of two tables, wherever both have one: these are the same whoever wrote them.

Another version of Holdfast may have other columns, and call things otherwise; what a column says is
a number of the rows all the same.
"""

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

from holdfast.bundle.same import same_value


def numbers_apart(name: str, there: str, made: str) -> str | None:
    """Where two files say other numbers, in a sentence; None where they do not.

    Args:
        name: of the file; those of tables and records end in .csv and .json.
        there: the text that lies there.
        made: the text that was made of the rows.
    """
    if not name.endswith((".csv", ".json")):
        return None
    try:
        one, other = (_content(name, text) for text in (there, made))
    except (ValueError, RecursionError, csv.Error):
        return "it cannot be read as what its name says."
    for place, first, second in _pairs(one, other, ""):
        if not same_value(first, second):
            return f"{place} is {first:.10g}, and the rows give {second:.10g}."
    return None


def _content(name: str, text: str) -> Any:
    """A record, or the lines of a table by their columns."""
    if name.endswith(".json"):
        return json.loads(text)
    return list(csv.DictReader(io.StringIO(text)))


def _pairs(one: Any, other: Any, place: str) -> Iterator[tuple[str, float, float]]:
    """The numbers that stand at one place in both; lists of other lengths are of other things."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in other:
            if key in one:
                yield from _pairs(one[key], other[key], f"{place}.{key}" if place else str(key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from _pairs(mine, theirs, f"{place}[{number}]")
    else:
        first, second = _number(one), _number(other)
        if first is not None and second is not None:
            yield place, first, second


def _number(value: object) -> float | None:
    """A number, or what a table writes for one; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
