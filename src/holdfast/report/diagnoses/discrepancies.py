"""How unlike adversaries of training and one to come are."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from holdfast.report.diagnoses.canvas import INK, STYLE, legend
from holdfast.report.style import BLUE, ORANGE, settled

__all__ = ["discrepancies"]


def discrepancies(sources: Sequence[tuple[str, float]], low: float) -> Figure:
    """The difference between each training-time adversary and another (EAT equation 10).

    Args:
        sources: (name of A_i, largest difference over the pairs of networks).
        low: what the discrepancy of all functions exceeds, with confidence.

    Example:
        >>> from holdfast.report.diagnoses import discrepancies
        >>> figure = discrepancies([("fgsm", 0.1), ("pgd", 0.2)], low=0.05)
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['fgsm', 'pgd']
    """
    names, values = zip(*sources, strict=True)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 1.6 + 0.3 * len(names)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.barh(names, values, color=BLUE, height=0.6)
        axes.axvline(float(np.mean(values)), color=ORANGE, label="their mean, over these networks")
        axes.axvline(low, color=INK, linestyle=":", label="exceeded over all functions")
        axes.set(xlabel="|P(h₁ = h₂) - P*(h₁ = h₂)|, at its largest", xlim=(0, None))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        legend(figure, axes)
        return settled(figure)
