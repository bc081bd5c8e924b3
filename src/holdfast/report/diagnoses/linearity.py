"""How near one step comes to many."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from holdfast.report.diagnoses.canvas import STYLE, Values, distribution, legend, panels
from holdfast.report.style import settled

__all__ = ["linearity"]


def linearity(models: Sequence[tuple[str, Values, Values]]) -> Figure:
    """How near one step comes to many, over the images of several models (EAT section 4, table 6).

    Args:
        models: (label, approximation ratios, cosines); NaN is left out.

    Example:
        >>> import numpy as np
        >>> from holdfast.report.diagnoses import linearity
        >>> ratios, cosines = np.array([0.9, 1.0]), np.array([0.7, 0.8])
        >>> len(linearity([("natural", ratios, cosines)]).axes)
        2
    """
    with mpl.rc_context(STYLE):
        figure, (left, right) = panels(2, share_y=True)
        for place, (label, ratio, cosine) in enumerate(models):
            distribution(left, ratio, label, place)
            distribution(right, cosine, label, place)
        left.set_xlabel("loss of one step / loss of many")
        right.set_xlabel("cosine of the two perturbations")
        left.set_xlim(0, 1)
        left.set_ylabel("fraction of images up to there")
        legend(figure, left)
        return settled(figure)
