"""Images as figures: what an attack did to them, and what became of them step by step."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from holdfast.report.gallery import Gallery, Pixels
from holdfast.report.style import STYLE

__all__ = ["Strip", "strips"]


def gallery(shown: Gallery) -> Figure:
    """Clean image, adversarial image and magnified difference, one column for each example."""
    with mpl.rc_context(STYLE):
        figure, axes = _board(1.1 * len(shown.examples), 3.9)
        for column, example in enumerate(shown.examples):
            pictures = (
                (example.clean, example.label),
                (example.adversarial, f"seen as {example.prediction}"),
                (example.difference, f"× {example.factor:.3g}"),
            )
            for line, (image, caption) in enumerate(pictures):
                _picture(axes, image, 1.1 * column + 0.05, 1.3 * line + 0.25, caption)
        return figure


@dataclass(frozen=True)
class Strip:
    """One line of pictures.

    Attributes:
        label: what stands before it.
        images: each (H, W) or (H, W, 3); where they leave [0, 1] they are black or white.
        captions: one above each image.

    Example:
        >>> from holdfast.report.pictures import Strip
        >>> Strip("clean", images=[x[0, 0].numpy()], captions=["0"]).label
        'clean'
    """

    label: str
    images: Sequence[Pixels]
    captions: Sequence[str]


def strips(heads: Sequence[str], shown: Sequence[Strip]) -> Figure:
    """Lines of pictures below each other, such as what purification makes of an image.

    Args:
        heads: what stands above each column.
        shown: the lines, with as many pictures each.

    Example:
        >>> from holdfast.report.pictures import Strip, strips
        >>> pictures = [image[0].numpy() for image in x]
        >>> figure = strips(["0", "1", "2", "3"], [Strip("clean", pictures, ["a", "b", "c", "d"])])
        >>> len(figure.axes[0].images)
        4
    """
    margin = 0.075 * max(len(strip.label) for strip in shown) + 0.1
    with mpl.rc_context(STYLE):
        figure, axes = _board(margin + 1.2 * len(heads), 1.4 * len(shown) + 0.25)
        for column, head in enumerate(heads):
            axes.text(margin + 1.2 * column + 0.6, 0.2, head, fontsize=8, ha="center")
        for line, strip in enumerate(shown):
            top = 1.4 * line + 0.55  # a caption has two lines
            axes.text(margin, top + 0.5, strip.label, fontsize=8, ha="right", va="center")
            for column, (image, caption) in enumerate(
                zip(strip.images, strip.captions, strict=True)
            ):
                _picture(axes, image, margin + 1.2 * column + 0.1, top, caption)
        return figure


def _board(width: float, height: float) -> tuple[Figure, Axes]:
    """Axes measured in inches from the top left; a pair for each image would take seconds."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    return figure, axes


def _picture(axes: Axes, image: Pixels, left: float, top: float, caption: str) -> None:
    height, width = np.array(image.shape[:2]) / max(image.shape[:2])
    axes.imshow(
        np.clip(image, 0, 1),
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(left, left + width, top + height, top),
    )
    axes.text(left + width / 2, top - 0.05, caption, fontsize=7, ha="center")
