"""The loss around an image, over two directions."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from holdfast.report.diagnoses.canvas import INK, STYLE, Values, legend
from holdfast.report.style import RED, settled

__all__ = ["surface", "surface_3d"]


def surface(
    along: Values,
    across: Values,
    loss: Float[np.ndarray, "a b"],
    fooled: Bool[np.ndarray, "a b"],
    title: str = "",
) -> Figure:
    """The loss at x + ε₁ g + ε₂ g⊥ from above, and where the model is fooled (EAT figure 5).

    Args:
        along: ε₁.
        across: ε₂.
        loss: at each (ε₁, ε₂).
        fooled: whether the prediction there is wrong; the boundary is drawn.
        title: above the figure.

    Example:
        >>> import numpy as np
        >>> from holdfast.report.diagnoses import surface
        >>> along = np.linspace(-0.1, 0.1, 5)
        >>> loss = np.add.outer(along**2, along)
        >>> surface(along, along, loss, fooled=loss > 0.05, title="natural").axes[0].get_title()
        'natural'
    """
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(4.6, 3.7), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        low, high = _ends([loss])
        levels: Any = 24 if float(loss.max()) > low else np.linspace(low, high, 6)
        filled = axes.contourf(along, across, loss.T, levels=levels, cmap="viridis")
        bar = figure.colorbar(filled, label="loss")
        bar.outline.set_visible(False)
        if fooled.any() and not fooled.all():
            axes.contour(along, across, fooled.T.astype(float), levels=[0.5], colors=[RED])
            axes.plot([], [], color=RED, label="decision boundary")
            legend(figure, axes)
        axes.plot(0, 0, "o", color="white", markeredgecolor="black")
        axes.set(xlabel="ε₁, along g", ylabel="ε₂, along g⊥", title=title, aspect="equal")
        return settled(figure)


def surface_3d(
    along: Values, across: Values, losses: Sequence[tuple[str, Float[np.ndarray, "a b"]]]
) -> Figure:
    """The same as a landscape, for several images or models side by side (EAT figures 1 and 4).

    Args:
        along: ε₁.
        across: ε₂.
        losses: (title, loss at each (ε₁, ε₂)), drawn at one scale.

    Example:
        >>> import numpy as np
        >>> from holdfast.report.diagnoses import surface_3d
        >>> along = np.linspace(-0.1, 0.1, 5)
        >>> loss = np.add.outer(along**2, along)
        >>> figure = surface_3d(along, along, [("one", loss), ("two", -loss)])
        >>> [axes.get_title() for axes in figure.axes]
        ['one', 'two']
    """
    first, second = np.meshgrid(along, across, indexing="ij")
    low, high = _ends([loss for _, loss in losses])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * len(losses), 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        for place, (title, loss) in enumerate(losses, start=1):
            axes: Any = figure.add_subplot(1, len(losses), place, projection="3d")
            axes.plot_surface(
                first, second, loss, cmap="viridis", vmin=low, vmax=high, linewidth=0, rcount=80
            )
            axes.set(xlabel="ε₁, along g", ylabel="ε₂, along g⊥", zlabel="loss", title=title)
            axes.set_zlim(low, high)
            axes.locator_params(nbins=5)
            axes.view_init(elev=28, azim=-60)
            for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
                axis.set_pane_color((0, 0, 0, 0))
                axis.line.set_color(INK)
            axes.set_box_aspect(None, zoom=0.85)
        return settled(figure)


def _ends(losses: Sequence[Float[np.ndarray, "a b"]]) -> tuple[float, float]:
    """The least and the largest loss; 1 apart where it is the same everywhere."""
    low, high = min(float(of.min()) for of in losses), max(float(of.max()) for of in losses)
    return low, high if high > low else low + 1
