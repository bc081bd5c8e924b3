"""The norm of the gradient as an attack goes on."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from holdfast.report.diagnoses.canvas import STYLE, legend, line, panels
from holdfast.report.style import settled

__all__ = ["gradient_norms"]


def gradient_norms(attacks: Sequence[tuple[str, Float[np.ndarray, "steps n"]]]) -> Figure:
    """The mean norm of the exact gradient over an attack's iterations (SO figure 2, left).

    Args:
        attacks: (label, ‖∇L‖₂ of every image at every iterate).

    Example:
        >>> import numpy as np
        >>> from holdfast.report.diagnoses import gradient_norms
        >>> figure = gradient_norms([("pgd", np.array([[1.0, 3.0], [0.1, 0.3]]))])
        >>> figure.axes[0].lines[0].get_ydata()
        array([2. , 0.2])
    """
    with mpl.rc_context(STYLE):
        figure, (axes,) = panels(1)
        for place, (label, norms) in enumerate(attacks):
            axes.plot(norms.mean(axis=1), label=label, **line(place))
        if all((norms.mean(axis=1) > 0).all() for _, norms in attacks):
            axes.set_yscale("log")
        axes.set(xlabel="iteration", ylabel="mean ‖∇L‖₂ over images")
        axes.set_xlim(left=0)
        legend(figure, axes)
        return settled(figure)
