"""How many orthogonal directions are adversarial."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from holdfast.report.diagnoses.canvas import STYLE, Values, legend, line, panels, percent
from holdfast.report.style import settled

__all__ = ["directions"]


def directions(models: Sequence[tuple[str, Values]]) -> Figure:
    """The fraction of images with at least k orthogonal adversarial directions (EAT figure 2).

    Args:
        models: (label, fractions for k = 1, 2, ...); beyond the last the fraction is 0.

    Example:
        >>> import numpy as np
        >>> from holdfast.report.diagnoses import directions
        >>> figure = directions([("natural", np.array([0.9, 0.5, 0.1]))])
        >>> figure.axes[0].get_xlabel()
        'number k of orthogonal directions'
    """
    with mpl.rc_context(STYLE):
        figure, (axes,) = panels(1)
        most = max(len(fractions) for _, fractions in models)
        for place, (label, fractions) in enumerate(models):
            padded = np.concatenate([fractions, np.zeros(most + 1 - len(fractions))])
            number = np.arange(1, most + 2)
            axes.step(number, padded, where="post", label=label, **line(place))
        axes.set(xlabel="number k of orthogonal directions", xlim=(1, most + 1))
        axes.set_ylabel("images with at least k")
        percent(axes)
        legend(figure, axes)
        return settled(figure)
