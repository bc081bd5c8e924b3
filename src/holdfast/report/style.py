"""How figures look, on the page and on paper, and how they become files."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from holdfast.files import StrPath, as_path, replace_file

__all__ = ["save", "standalone_svg"]

#: Okabe and Ito's palette, which colour-blind readers can tell apart. In a report blue is what is
#: certified and red what attacks left; the page's style sheet has the same, lightened where dark.
INK = "#14171a"
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#0072b2",
    "#d98f00",
    "#009e73",
    "#d55e00",
    "#b5609a",
    "#4aa8dc",
)
GREY = "#7d8590"
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
#: Attacks', chosen by search: any two differ for every kind of colour-blindness, as on the page.
ATTACKS = ("#b58a07", "#08583f", "#812278", "#058fdb", "#61540d", "#909194")
DASHES = ("-", "--", ":", "-.")

STYLE: dict[Any, Any] = {
    **{f"{part}.facecolor": "none" for part in ("figure", "axes", "savefig")},
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "font.size": 10,
    "text.parse_math": False,  # names of classes, attacks and models are text: "$0_to_$1" as well
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "svg.fonttype": "none",
    "svg.hashsalt": "holdfast",
    "pdf.fonttype": 42,
}


def standalone_svg(figure: Figure) -> str:
    """SVG that is shown by itself, such as in a Markdown page.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from holdfast.report.style import standalone_svg
        >>> "var(--" in standalone_svg(Figure(figsize=(1, 1)))
        False
    """
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", facecolor="auto", metadata={"Date": None})
    return buffer.getvalue()


def save(figure: Figure, path: StrPath) -> None:
    """Save as PDF and SVG for a paper; ``path`` has no suffix.

    Example:
        >>> from pathlib import Path
        >>> from matplotlib.figure import Figure
        >>> from holdfast.report.style import save
        >>> save(Figure(figsize=(1, 1)), "empty")
        >>> sorted(path.name for path in Path().glob("empty.*"))
        ['empty.pdf', 'empty.svg']
    """
    path = as_path(path)
    for kind, stamp in (("pdf", "CreationDate"), ("svg", "Date")):
        buffer = io.BytesIO()
        with mpl.rc_context({**STYLE, "svg.fonttype": "path"}):
            figure.savefig(buffer, format=kind, facecolor="auto", metadata={stamp: None})
        content = buffer.getvalue()
        replace_file(path.with_name(f"{path.name}.{kind}"), partial(Path.write_bytes, data=content))


def settled(figure: Figure) -> Figure:
    """Lay the figure out now, once, rather than again for each format that it is saved in."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure
