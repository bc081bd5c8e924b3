"""What the figures of the diagnoses share: their ink, their panels, how values are spread.

Their ground is transparent and their ink a grey that reads on white as on black, so that one file
serves a light page and a dark one.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from holdfast.report.style import CYCLE, DASHES

Values = Float[np.ndarray, "_"]

INK = "#6e7781"

STYLE: dict[Any, Any] = {
    **{f"{part}.facecolor": "none" for part in ("figure", "axes", "savefig")},
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    ),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlesize": 10,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}


def panels(count: int, *, share_y: bool = False) -> tuple[Figure, Sequence[Axes]]:
    """A figure of so many panels beside each other."""
    figure = Figure(figsize=(4.6 if count == 1 else 3.7 * count, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, count, sharey=share_y, squeeze=False)[0])


def distribution(axes: Axes, values: Values, label: str, place: int) -> None:
    """The fraction of values up to each, with the mean marked below; that there is none, if so."""
    known = values[~np.isnan(values)]
    if len(known):
        axes.ecdf(known, label=label, **line(place))
        axes.plot(known.mean(), 0.0, "^", color=line(place)["color"], clip_on=False, zorder=3)
    else:
        axes.plot([], [], label=f"{label}: of no image", **line(place))
    percent(axes)


def percent(axes: Axes) -> None:
    """The y axis in percent, all of it."""
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))


def line(place: int) -> dict[str, Any]:
    """Colour and dashes of a figure's lines, no two alike."""
    again, colour = divmod(place, len(CYCLE))
    return {"color": CYCLE[colour], "linestyle": DASHES[again % len(DASHES)]}


def legend(figure: Figure, axes: Axes) -> None:
    """What the lines of a panel are, below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=1, fontsize=8)
