"""Whether what is written is what was worked out again, and whose words it is written in."""

import math
from collections.abc import Mapping
from typing import Any

from holdfast.bundle.manifest import versions

#: Up to which two numbers that were worked out from the same rows are the same.
_SAME = 1e-9


def of_other_version(about: Mapping[str, Any]) -> bool:
    """Whether another version of Holdfast made a run, which may have said the same otherwise."""
    made = about.get("versions")
    return not isinstance(made, Mapping) or made.get("holdfast") != versions()["holdfast"]


def same_value(mine: Any, written: Any) -> bool:
    """Whether two values are equal, numbers up to rounding."""
    if isinstance(mine, Mapping) and isinstance(written, Mapping):
        return mine.keys() == written.keys() and all(same_value(mine[k], written[k]) for k in mine)
    if isinstance(mine, list | tuple) and isinstance(written, list | tuple):
        return len(mine) == len(written) and all(map(same_value, mine, written))
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in (mine, written)]
    if all(numbers):
        return math.isclose(mine, written, rel_tol=_SAME, abs_tol=_SAME)
    return bool(mine == written)


def short(value: object) -> str:
    """A value as a sentence shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
