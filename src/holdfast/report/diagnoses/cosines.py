"""How near a gradient points to the Hessian's leading eigenvector."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from holdfast.report.diagnoses.canvas import INK, STYLE, Values, legend
from holdfast.report.style import BLUE, ORANGE, settled

__all__ = ["cosines"]


def cosines(gradients: Sequence[tuple[str, Values]], chance: float) -> Figure:
    """|cos| of several gradients to the Hessian's leading eigenvector (SO equations 3 and 4).

    The line reaches from the 5th to the 95th percentile of the images, the thick part from the 25th
    to the 75th; the point is the mean.

    Args:
        gradients: (label, |cos| of every image); NaN is left out.
        chance: what a random direction has on average.

    Example:
        >>> import numpy as np
        >>> from holdfast.report.diagnoses import cosines
        >>> figure = cosines([("gradient", np.array([0.1, 0.3]))], chance=0.05)
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['gradient']
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 1.5 + 0.35 * len(gradients)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for place, (_, values) in enumerate(gradients):
            known = values[~np.isnan(values)]
            if len(known):
                ends = np.quantile(known, (0.05, 0.25, 0.75, 0.95))
                axes.plot(ends[[0, 3]], [place, place], color=BLUE, linewidth=1.2)
                axes.plot(ends[1:3], [place, place], color=BLUE, linewidth=5)
                axes.plot(known.mean(), place, "o", color=ORANGE, markersize=6, zorder=3)
        axes.axvline(chance, color=INK, linestyle=":", label="a random direction")
        axes.set_yticks(range(len(gradients)), [label for label, _ in gradients])
        axes.set(xlabel="|cos| to the leading eigenvector", xlim=(0, 1))
        axes.set_ylim(len(gradients) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        legend(figure, axes)
        return settled(figure)
