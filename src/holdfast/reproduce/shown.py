"""The numbers of a table or figure as its page shows them."""

import math
from collections import Counter
from typing import Any

import pandas as pd

from holdfast.report import words
from holdfast.reproduce.markdown import escaped
from holdfast.reproduce.results import Curves, Plane, Table, is_elsewhere

#: The most rows of other numbers of images that are named.
_NAMED = 3


def shown(part: Table | Curves | Plane, found: pd.DataFrame) -> list[str]:
    """Measured [interval] (the paper's, difference), a line for each row, and of how many images.

    Args:
        part: the table or figure.
        found: its numbers, as `holdfast.reproduce.page.numbers` gives them.
    """
    percent = part.unit == "percent"
    columns = list(dict.fromkeys(found["column"]))
    heads = list(map(escaped, columns))
    if isinstance(part, Curves):  # of which some may begin later than others
        columns.sort(key=float)
        heads = [words.size("linf", float(column)) for column in columns]  # 8/255 as such
    lines = [
        f"| {part.x if isinstance(part, Curves) else ''} | {' | '.join(heads)} |",
        f"|---{'|---:' * len(columns)}|",
    ]
    for row in dict.fromkeys(found["row"]):
        cells = found[found["row"] == row].set_index("column")
        texts = [
            _cell(cells.loc[column], percent=percent) if column in cells.index else ""
            for column in columns
        ]
        lines.append(f"| {escaped(row)} | {' | '.join(texts)} |")
    paper = ""
    if found["paper"].notna().any():
        beside = "of other images and networks" if is_elsewhere(part) else "and how far from it"
        paper = f" (the paper's, {beside})"
    lines += ["", f"Measured [95 % interval]{paper}.{_over(found)}"]
    whys = found[found["why"] != ""]
    lines += [f"- {row.row}, {row.column}: {row.why}" for row in whys.itertuples()]
    return lines


def _cell(cell: "pd.Series[Any]", *, percent: bool) -> str:
    said = []
    if not math.isnan(cell["measured"]):
        said.append(f"**{_number(cell['measured'], percent=percent)}**")
    if not math.isnan(cell["low"]):
        ends = (_number(cell[end], percent=percent) for end in ("low", "high"))
        said.append(f"[{', '.join(ends)}]")
    if not math.isnan(cell["paper"]):
        printed = _number(cell["paper"], percent=percent)
        if not math.isnan(cell["difference"]):
            printed += f", {_number(cell['difference'], percent=percent, sign='+')}"
        said.append(f"({printed})")
    return " ".join(said) or "-"


def _number(value: float, *, percent: bool, sign: str = "") -> str:
    text = f"{100 * value:{sign}.1f}" if percent else f"{value:{sign}.3g}"
    return f"{sign}0.0" if text == "-0.0" else text


def _over(found: pd.DataFrame) -> str:
    """Over how many images and networks: what most rows are, and what a few others are."""
    there = found[found["measured"].notna() & (found["seeds"] > 0)]
    by_row = {str(row): _counted(cells) for row, cells in there.groupby("row", sort=False)}
    counts = Counter(by_row.values())
    if not counts:
        return ""
    usual, often = counts.most_common(1)[0]
    if counts.total() - often > _NAMED:
        return f" {_counted(there)}."
    said = [usual]
    for text in (text for text in counts if text != usual):
        rows = ", ".join(escaped(row) for row, of in by_row.items() if of == text)
        said.append(f"{rows}: {text}")
    return f" {'; '.join(said)}."


def _counted(cells: pd.DataFrame) -> str:
    """Such as "1,000 to 10,000 images, 3 seeds"."""
    said = []
    for column, one in (("images", "image"), ("seeds", "seed")):
        of = cells.loc[cells[column] > 0, column]  # 0 of what is not over images
        if len(of):
            least, most = int(of.min()), int(of.max())
            number = f"{most:,}" if least == most else f"{least:,} to {most:,}"
            said.append(f"{number} {one}{'' if most == 1 else 's'}")
    return ", ".join(said)
