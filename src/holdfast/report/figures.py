"""Figures for page and paper; they take tables and curves, and know neither models nor attacks."""

import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from holdfast.files import replace_file
from holdfast.report.gallery import Gallery, Pixels

__all__ = [
    "Strip",
    "accuracy_by_attack",
    "bounds",
    "certified_accuracy",
    "floor_and_ceiling",
    "save",
    "standalone_svg",
    "strips",
    "to_svg",
]

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
_MARKERS = "osD^vP"
DASHES = ("-", "--", ":", "-.")
_LABEL = 66  # letters of a legend's line

_STYLE: dict[Any, Any] = {
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
_NORMS = {"linf": "ℓ∞", "l2": "ℓ2", "l1": "ℓ1"}


def floor_and_ceiling(
    norm: str,
    ceiling: pd.DataFrame,
    floors: Sequence[tuple[str, pd.DataFrame]],
    without_noise: pd.DataFrame,
    marks: Sequence[float] = (),
) -> Figure:
    """What is proven and what an attacker was shown to reach, over the perturbation's size.

    Args:
        norm: "linf", "l2" or "l1".
        ceiling: eps, robust_accuracy, low, high in the worst case over all attacks on the
            certified classifier; may be empty.
        floors: certified accuracy of the same classifier as (label, table) with the same columns,
            the strongest first.
        without_noise: as ``ceiling``, for the base classifier; may be empty.
        marks: sizes of interest.

    Example:
        >>> import pandas as pd
        >>> from holdfast.report.figures import floor_and_ceiling
        >>> curve = pd.DataFrame({"eps": [0.0, 0.1], "robust_accuracy": [0.9, 0.4]})
        >>> curve = curve.assign(low=[0.8, 0.3], high=[1.0, 0.5])
        >>> figure = floor_and_ceiling("l2", curve, [("Cohen", curve / 2)], without_noise=curve)
        >>> len(figure.axes[0].lines) >= 3
        True
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(norm)
        if len(without_noise):
            axes.plot(
                without_noise["eps"],
                without_noise["robust_accuracy"],
                "--",
                color=GREY,
                marker="x",
                label="worst case over all attacks, base classifier",
            )
        if len(ceiling):
            _with_intervals(axes, ceiling, ORANGE, "o", "worst case over all attacks (ceiling)")
        for place, (label, floor) in enumerate(floors):
            again, colour = divmod(place, 4)
            _floor(axes, floor, (BLUE, SKY, GREEN, PURPLE)[colour], label, DASHES[again % 4])
        _mark(axes, marks)
        return _finished(figure, axes)


def certified_accuracy(
    norm: str, curves: Sequence[tuple[str, pd.DataFrame]], marks: Sequence[float] = ()
) -> Figure:
    """Certified accuracy of several classifiers, over the radius (STN Fig. 1).

    Args:
        norm: "l2" or "l1".
        curves: (label, table) with eps, robust_accuracy, low, high.
        marks: radii of interest.

    Example:
        >>> import pandas as pd
        >>> from holdfast.report.figures import certified_accuracy
        >>> curve = pd.DataFrame({"eps": [0.0, 0.1], "robust_accuracy": [0.9, 0.4]})
        >>> curve = curve.assign(low=[0.8, 0.3], high=[1.0, 0.5])
        >>> figure = certified_accuracy("l2", [("sigma 0.25", curve), ("sigma 0.5", curve / 2)])
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['sigma 0.25', 'sigma 0.5']
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(norm)
        axes.set_ylabel("certified accuracy")
        for place, (label, curve) in enumerate(curves):
            rounds, colour = divmod(place, len(CYCLE))
            _floor(axes, curve, CYCLE[colour], label, DASHES[rounds % len(DASHES)])
        _mark(axes, marks)
        return _finished(figure, axes)


def bounds(panels: Sequence[tuple[str, pd.DataFrame]]) -> Figure:
    """Radii that several bounds make of the same two probabilities (SO Fig. 4).

    Args:
        panels: (title, table), side by side; each table has p1 and, for each bound, a column of
            radii in units of σ.

    Example:
        >>> import pandas as pd
        >>> from holdfast.report.figures import bounds
        >>> table = pd.DataFrame({"p1": [0.6, 0.9], "Cohen": [0.25, 1.28], "Rényi": [0.1, 0.9]})
        >>> bounds([("p₂ = 1 - p₁", table)]).axes[0].get_title()
        'p₂ = 1 - p₁'
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (title, table) in zip(
            figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
        ):
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("p₁, lower limit of the leading class")
            for place, name in enumerate(column for column in table if column != "p1"):
                axes.plot(table["p1"], table[name], color=CYCLE[place], label=_shown(name))
        figure.axes[0].set_ylabel("certified ℓ2 radius / σ")
        figure.axes[0].legend()
        return settled(figure)


def accuracy_by_attack(norm: str, cells: pd.DataFrame) -> Figure:
    """Robust accuracy under each attack, over the perturbation's size.

    Args:
        norm: "linf", "l2" or "l1".
        cells: attack, eps, robust_accuracy, low, high.

    Example:
        >>> import pandas as pd
        >>> from holdfast.report.figures import accuracy_by_attack
        >>> curve = pd.DataFrame({"eps": [0.0, 0.1], "robust_accuracy": [0.9, 0.4]})
        >>> curve = curve.assign(low=[0.8, 0.3], high=[1.0, 0.5])
        >>> figure = accuracy_by_attack("linf", curve.assign(attack="pgd"))
        >>> figure.axes[0].get_xlabel()
        'size of the perturbation, ℓ∞'
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(norm)
        for place, (attack, part) in enumerate(cells.groupby("attack", sort=False)):
            style = place % len(CYCLE)
            _with_intervals(
                axes, part.sort_values("eps"), CYCLE[style], _MARKERS[style], str(attack)
            )
        return _finished(figure, axes)


def gallery(shown: Gallery) -> Figure:
    """Clean image, adversarial image and magnified difference, one column for each example."""
    with mpl.rc_context(_STYLE):
        figure, axes = _board(1.1 * len(shown.examples), 3.9)
        for column, example in enumerate(shown.examples):
            pictures = (
                (example.clean, example.label),
                (example.adversarial, f"seen as {example.prediction}"),
                (example.difference, f"× {example.factor:.3g}"),
            )
            for line, (image, caption) in enumerate(pictures):
                _picture(axes, image, 1.1 * column + 0.05, 1.3 * line + 0.25, caption)
        return figure


@dataclass(frozen=True)
class Strip:
    """One line of pictures.

    Attributes:
        label: what stands before it.
        images: each (H, W) or (H, W, 3); where they leave [0, 1] they are black or white.
        captions: one above each image.

    Example:
        >>> from holdfast.report.figures import Strip
        >>> Strip("clean", images=[x[0, 0].numpy()], captions=["0"]).label
        'clean'
    """

    label: str
    images: Sequence[Pixels]
    captions: Sequence[str]


def strips(heads: Sequence[str], shown: Sequence[Strip]) -> Figure:
    """Lines of pictures below each other, such as what purification makes of an image.

    Args:
        heads: what stands above each column.
        shown: the lines, with as many pictures each.

    Example:
        >>> from holdfast.report.figures import Strip, strips
        >>> pictures = [image[0].numpy() for image in x]
        >>> figure = strips(["0", "1", "2", "3"], [Strip("clean", pictures, ["a", "b", "c", "d"])])
        >>> len(figure.axes[0].images)
        4
    """
    margin = 0.075 * max(len(strip.label) for strip in shown) + 0.1
    with mpl.rc_context(_STYLE):
        figure, axes = _board(margin + 1.2 * len(heads), 1.4 * len(shown) + 0.25)
        for column, head in enumerate(heads):
            axes.text(margin + 1.2 * column + 0.6, 0.2, head, fontsize=8, ha="center")
        for line, strip in enumerate(shown):
            top = 1.4 * line + 0.55  # a caption has two lines
            axes.text(margin, top + 0.5, strip.label, fontsize=8, ha="right", va="center")
            for column, (image, caption) in enumerate(
                zip(strip.images, strip.captions, strict=True)
            ):
                _picture(axes, image, margin + 1.2 * column + 0.1, top, caption)
        return figure


def _board(width: float, height: float) -> tuple[Figure, Axes]:
    """Axes measured in inches from the top left; a pair for each image would take seconds."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    return figure, axes


def _picture(axes: Axes, image: Pixels, left: float, top: float, caption: str) -> None:
    height, width = np.array(image.shape[:2]) / max(image.shape[:2])
    axes.imshow(
        np.clip(image, 0, 1),
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(left, left + width, top + height, top),
    )
    axes.text(left + width / 2, top - 0.05, caption, fontsize=7, ha="center")


def standalone_svg(figure: Figure) -> str:
    """SVG that is shown by itself, such as in a Markdown page.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from holdfast.report.figures import standalone_svg
        >>> "var(--" in standalone_svg(Figure(figsize=(1, 1)))
        False
    """
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", facecolor="auto", metadata={"Date": None})
    return buffer.getvalue()


def to_svg(figure: Figure) -> str:
    """SVG for the page, its colours turned into style sheet variables.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from holdfast.report.figures import to_svg
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
        >>> from holdfast.report.figures import save
        >>> save(Figure(figsize=(1, 1)), Path("empty"))
        >>> sorted(path.name for path in Path().glob("empty.*"))
        ['empty.pdf', 'empty.svg']
    """
    for kind, stamp in (("pdf", "CreationDate"), ("svg", "Date")):
        buffer = io.BytesIO()
        with mpl.rc_context({**_STYLE, "svg.fonttype": "path"}):
            figure.savefig(buffer, format=kind, facecolor="auto", metadata={stamp: None})
        content = buffer.getvalue()
        replace_file(path.with_name(f"{path.name}.{kind}"), partial(Path.write_bytes, data=content))


def _figure(norm: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, 3.7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_xlabel(f"size of the perturbation, {_NORMS[norm]}")
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    return figure, axes


def _floor(axes: Axes, curve: pd.DataFrame, colour: str, label: str, dashes: str = "-") -> None:
    axes.plot(curve["eps"], curve["robust_accuracy"], dashes, color=colour, label=_shown(label))
    axes.fill_between(
        curve["eps"], curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0
    )


def _mark(axes: Axes, sizes: Sequence[float]) -> None:
    for size in sizes:
        axes.axvline(size, color=GREY, linestyle=":", linewidth=1)


def _with_intervals(axes: Axes, table: pd.DataFrame, colour: str, marker: str, label: str) -> None:
    accuracy = table["robust_accuracy"]
    axes.errorbar(
        table["eps"],
        accuracy,
        yerr=[accuracy - table["low"], table["high"] - accuracy],
        color=colour,
        marker=marker,
        capsize=2,
        elinewidth=0.9,
        label=_shown(label),
    )


def _shown(label: str) -> str:
    """A label for a legend, which would leave one out that begins with an underscore."""
    return f"\u200b{label}" if label.startswith("_") else label


def _finished(figure: Figure, axes: Axes) -> Figure:
    axes.set_xlim(left=0)
    handles, labels = axes.get_legend_handles_labels()
    # Long labels are broken, and the figure grows by what they take: the plot keeps its size.
    labels = ["\n    ".join(textwrap.wrap(label, _LABEL)) for label in labels]
    lines = sum(1 + label.count("\n") for label in labels)
    figure.set_figheight(figure.get_figheight() + 0.17 * max(0, lines - 4))
    figure.legend(handles, labels, loc="outside lower left", ncols=1, fontsize=8)
    return settled(figure)


def settled(figure: Figure) -> Figure:
    """Lay the figure out now, once, rather than again for each format that it is saved in."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure
