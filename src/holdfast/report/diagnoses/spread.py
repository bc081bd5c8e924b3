"""How what a diagnosis finds of each image is spread: similarities and margins."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from holdfast.report.diagnoses.canvas import STYLE, Values, distribution, legend, panels
from holdfast.report.style import settled

__all__ = ["margins", "similarities"]


def similarities(models: Sequence[tuple[str, Values]]) -> Figure:
    """PASS of the adversarial images that fool several models (DD supplement, table 2).

    Args:
        models: (label, PASS of every image).

    Example:
        >>> import numpy as np
        >>> from holdfast.report.diagnoses import similarities
        >>> similarities([("natural", np.array([0.97, 0.99]))]).axes[0].get_xlabel()
        'PASS'
    """
    figure = _distributions(models, "PASS")
    figure.axes[0].set_xlim(right=1)
    return figure


def margins(models: Sequence[tuple[str, Values]]) -> Figure:
    """Relative distances to the boundary of several models (DD equation 7).

    Args:
        models: (label, distance of every image).

    Example:
        >>> import numpy as np
        >>> from holdfast.report.diagnoses import margins
        >>> margins([("natural", np.array([0.1, 0.2]))]).axes[0].get_xlabel()
        'distance to the boundary, ‖Δ‖ / ‖x - mean‖'
    """
    figure = _distributions(models, "distance to the boundary, ‖Δ‖ / ‖x - mean‖")
    figure.axes[0].set_xlim(left=0)
    return figure


def _distributions(models: Sequence[tuple[str, Values]], what: str) -> Figure:
    with mpl.rc_context(STYLE):
        figure, (axes,) = panels(1)
        for place, (label, scores) in enumerate(models):
            distribution(axes, scores, label, place)
        axes.set(xlabel=what, ylabel="fraction of images up to there")
        legend(figure, axes)
        return settled(figure)
