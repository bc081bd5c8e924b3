"""What a page says of the scale: what was reduced, and what was done otherwise and why."""

from collections.abc import Sequence

from holdfast.reproduce.markdown import escaped
from holdfast.reproduce.scale import Scale

_OURS = "Sizes of the scale `paper` are the paper's, and the recipe's where the paper names none."


def reduced(scale: Scale) -> list[str]:
    """The sizes that are smaller than the paper's."""
    if not scale.reduced:
        return ["Nothing was reduced: all sizes are those of the scale `paper`.", ""]
    lines = ["## What was reduced", "", _OURS, "", "| | here | scale `paper` |", "|---|---|---|"]
    for what, (here, there) in scale.reduced.items():
        lines.append(f"| {escaped(what)} | {escaped(_said(here))} | {escaped(_said(there))} |")
    return [*lines, ""]


def otherwise(scale: Scale) -> list[str]:
    """What is no size and not as in the paper, as it stands on a page; nothing if all is."""
    if not scale.departures:
        return []
    head = ["", "| | here | scale `paper` | why |", "|---|---|---|---|"]
    lines = ["## What was done otherwise", *head]
    for what, (here, there, why) in scale.departures.items():
        cells = (what, _plain(here), _plain(there), why)
        lines.append(f"| {' | '.join(map(escaped, cells))} |")
    return [*lines, ""]


def _plain(way: object) -> str:
    """A way in words: where none is named, it is the command's own."""
    return "as by default" if way is None else str(way)


def _said(size: object) -> str:
    """A size in words: several between commas, nothing for all that there is."""
    if size is None:
        return "all"
    if isinstance(size, Sequence) and not isinstance(size, str):
        return ", ".join(map(str, size))
    return str(size)
