"""How figures look, on the page and on paper, and how they become files."""

import io
import re
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from holdfast.files import replace_file

__all__ = ["save", "standalone_svg", "to_svg"]

#: Okabe and Ito's palette, which colour-blind readers can tell apart; the page's style sheet knows
#: each by a variable, so that a dark page can lighten it.
INK, PAPER = "#14171a", "#fdfdfc"
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#0072b2",
    "#d98f00",
    "#009e73",
    "#d55e00",
    "#b5609a",
    "#4aa8dc",
)
GREY = "#7d8590"
COLOURS = {
    INK: "ink",
    PAPER: "paper",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    RED: "red",
    PURPLE: "purple",
    SKY: "sky",
    GREY: "grey",
}
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
DASHES = ("-", "--", ":", "-.")

STYLE: dict[Any, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
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


def to_svg(figure: Figure) -> str:
    """SVG for the page, its colours turned into style sheet variables.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from holdfast.report.style import to_svg
        >>> to_svg(Figure(figsize=(1, 1)))[:4]
        '<svg'
    """
    svg = standalone_svg(figure)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<[^>]*>", lambda tag: _restyled(tag[0]), svg)  # and leave all text alone
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r' height="[^"]*pt"', "", svg, count=1)
    )


def _restyled(tag: str) -> str:
    """A tag with the page's own colours and font, at a size that follows the column's width."""
    for colour, name in COLOURS.items():
        tag = tag.replace(colour, f"var(--{name})")
    return re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", tag)


def save(figure: Figure, path: Path) -> None:
    """Save as PDF and SVG for a paper; ``path`` has no suffix.

    Example:
        >>> from pathlib import Path
        >>> from matplotlib.figure import Figure
        >>> from holdfast.report.style import save
        >>> save(Figure(figsize=(1, 1)), Path("empty"))
        >>> sorted(path.name for path in Path().glob("empty.*"))
        ['empty.pdf', 'empty.svg']
    """
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
