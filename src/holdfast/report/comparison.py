"""A figure of a paper and its reproduction: what was printed, and what was measured here."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from holdfast.report.diagnoses.canvas import STYLE
from holdfast.report.style import CYCLE

__all__ = ["Compared", "compared"]


class Compared(NamedTuple):
    """A curve.

    Attributes:
        name: in the legend.
        measured: (x, value, low, high); low and high NaN where no interval is known.
        printed: (x, value) of the paper.

    Example:
        >>> from holdfast.report.comparison import Compared
        >>> Compared("PGD", measured=[(0.1, 0.9, 0.85, 0.94)], printed=[(0.1, 0.93)]).name
        'PGD'
    """

    name: str
    measured: Sequence[tuple[float, float, float, float]]
    printed: Sequence[tuple[float, float]]


def compared(
    x: str, y: str, curves: Sequence[Compared], *, percent: bool, log: bool = False
) -> Figure:
    """Measured curves with their intervals, and the paper's dashed in the same colour.

    Example:
        >>> from holdfast.report.comparison import Compared, compared
        >>> curve = Compared("PGD", measured=[(0.1, 0.9, 0.85, 0.94)], printed=[(0.1, 0.93)])
        >>> figure = compared("eps", "robust accuracy", [curve], percent=True)
        >>> len(figure.axes)
        1
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for place, curve in enumerate(curves):
            colour = CYCLE[place % len(CYCLE)]
            style = ("-", ":", "-.")[place // len(CYCLE) % 3]
            if curve.measured:
                at, value, low, high = zip(*curve.measured, strict=True)
                axes.plot(at, value, style, color=colour, marker="o", label=curve.name)
                if not any(map(math.isnan, low)):
                    axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
            if curve.printed:
                at, value = zip(*curve.printed, strict=True)
                axes.plot(
                    at, value, "--", color=colour, marker="x", label=f"{curve.name}, the paper"
                )
        axes.set_xlabel(x)
        axes.xaxis.set_major_locator(MaxNLocator(6))  # numbers of four digits do not touch
        axes.set_ylabel(y)
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        figure.legend(loc="outside right upper")
        return figure
