"""Accuracy and ρ₂ as a training goes on."""

from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from holdfast.report.diagnoses.canvas import STYLE, legend, line, panels
from holdfast.report.style import settled

__all__ = ["convergence"]


def convergence(methods: Sequence[tuple[str, pd.DataFrame]]) -> Figure:
    """Accuracy and ρ₂ over the epochs of several trainings (DD figures 2 and 8).

    Args:
        methods: (label, table with epoch, accuracy and rho2).

    Example:
        >>> import pandas as pd
        >>> from holdfast.report.diagnoses import convergence
        >>> table = pd.DataFrame({"epoch": [1, 2], "accuracy": [0.8, 0.9], "rho2": [0.1, 0.2]})
        >>> [axes.get_ylabel() for axes in convergence([("deep defense", table)]).axes]
        ['accuracy', 'ρ₂']
    """
    with mpl.rc_context(STYLE):
        figure, (left, right) = panels(2)
        for axes, column, title in ((left, "accuracy", "accuracy"), (right, "rho2", "ρ₂")):
            for place, (label, table) in enumerate(methods):
                axes.plot(table["epoch"], table[column], marker="o", label=label, **line(place))
            axes.set(xlabel="epoch", ylabel=title)
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        left.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
        right.set_ylim(bottom=0)
        legend(figure, left)
        return settled(figure)
