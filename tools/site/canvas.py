"""What the pictures of methods have in common: colours, ink on no ground, SVG that does not change.

They are drawn with dark ink; the page turns them over in the dark.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

#: Of classes; Okabe and Ito's.
COLOURS = ("#0072b2", "#e69f00", "#009e73")

#: What a picture is of, what it stands beside, and what is only there to be found one's way by.
MAIN, BESIDE, FAINT = "#d55e00", "#333333", "#888888"


def square() -> tuple[Figure, Axes]:
    """The unit square, without numbers."""
    figure = Figure(figsize=(3.6, 3.6))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(), yticks=(), aspect="equal")
    return figure, axes


def graph(across: str, up: str) -> tuple[Figure, Axes]:
    """Two axes with their names."""
    figure = Figure(figsize=(3.6, 3.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=across, ylabel=up)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def strip(images: Tensor, above: list[str], columns: int = 3) -> Figure:
    """Grey images (N, H, W) side by side, each with a word above it; as shapes, not as pixels."""
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.2 * columns, 1.4 * rows), layout="constrained")
    for i, (image, word) in enumerate(zip(images, above, strict=True)):
        axes = figure.add_subplot(rows, columns, i + 1)
        pixels(axes, image)
        axes.set_title(word, fontsize=9)
    return figure


def pixels(axes: Axes, image: Tensor, colours: str = "Greys", least: float = 0.0) -> None:
    """One image (H, W) of values between ``least`` and 1."""
    axes.pcolormesh(
        image.flip(0).numpy(), cmap=colours, vmin=least, vmax=1, lw=0.1, edgecolor="face"
    )
    axes.set(xticks=(), yticks=(), aspect="equal")


def regions(axes: Axes, logits: Callable[[Tensor], Tensor], **look: Any) -> None:
    """Where in the unit square each class is answered."""
    across, up, classes = on_grid(lambda x: logits(x).argmax(dim=1))
    look = {"colors": COLOURS, "alpha": 0.22, **look}
    axes.contourf(across, up, classes, levels=(-0.5, 0.5, 1.5, 2.5), **look)


def borders(axes: Axes, logits: Callable[[Tensor], Tensor], **look: Any) -> None:
    """The lines between the classes, each drawn once."""
    look = {"colors": BESIDE, "linewidths": 1.0, "linestyles": "--", **look}
    for k in (0, 1):
        across, up, lead = on_grid(lambda x, k=k: _lead(logits(x), k))  # type: ignore[misc]
        axes.contour(across, up, lead, levels=(0,), **look)


def _lead(z: Tensor, k: int) -> Tensor:
    """How far class k is ahead of those after it; nothing where one before it leads."""
    lead = z[:, k] - z[:, k + 1 :].amax(dim=1)
    return lead.where(z.argmax(dim=1) >= k, torch.nan)


def on_grid(of: Callable[[Tensor], Tensor], ticks: int = 121) -> tuple[Any, Any, Any]:
    """The coordinates of a grid of the unit square, and a value at each of its points."""
    line = np.linspace(0, 1, ticks, dtype=np.float32)
    across, up = np.meshgrid(line, line)
    points = torch.from_numpy(np.stack((across, up), axis=-1).reshape(-1, 1, 1, 2))
    with torch.no_grad():
        return across, up, of(points).reshape(across.shape).numpy()


def svg(figure: Figure, name: str) -> bytes:
    """The same bytes each time, on a transparent ground, with text as text."""
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    out = BytesIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return out.getvalue()
