"""Figures of accuracy, over sizes and radii; they take tables, not models or attacks."""

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from holdfast.report.style import (
    ATTACKS,
    BLUE,
    CYCLE,
    DASHES,
    GREEN,
    GREY,
    PURPLE,
    RED,
    SKY,
    STYLE,
    settled,
)
from holdfast.report.words import NORMS

__all__ = ["accuracy_by_attack", "bounds", "certified_accuracy", "floor_and_ceiling"]

_MARKERS = "sD^vP*"
_LABEL = 66  # letters of a legend's line


def floor_and_ceiling(
    norm: str,
    ceiling: pd.DataFrame,
    floors: Sequence[tuple[str, pd.DataFrame]],
    without_noise: pd.DataFrame,
    marks: Sequence[float] = (),
) -> Figure:
    """What is proven and what an attacker was shown to reach, over the perturbation's size.

    Args:
        norm: "linf", "l2", "l1" or "l0".
        ceiling: eps, robust_accuracy, low, high in the worst case over all attacks on the
            certified classifier; may be empty.
        floors: certified accuracy of the same classifier as (label, table) with the same columns,
            the strongest first.
        without_noise: as ``ceiling``, for the base classifier; may be empty.
        marks: sizes of interest.

    Example:
        >>> import pandas as pd
        >>> from holdfast.report.figures import floor_and_ceiling
        >>> curve = pd.DataFrame({"eps": [0.0, 0.1], "robust_accuracy": [0.9, 0.4]})
        >>> curve = curve.assign(low=[0.8, 0.3], high=[1.0, 0.5])
        >>> figure = floor_and_ceiling("l2", curve, [("Cohen", curve / 2)], without_noise=curve)
        >>> len(figure.axes[0].lines) >= 3
        True
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(norm)
        if len(without_noise):
            axes.plot(
                without_noise["eps"],
                without_noise["robust_accuracy"],
                "--",
                color=GREY,
                marker="x",
                label="worst case over all attacks, base classifier",
            )
        if len(ceiling):
            _with_intervals(axes, ceiling, RED, "o", "worst case over all attacks (ceiling)")
        for place, (label, floor) in enumerate(floors):
            again, colour = divmod(place, 4)
            _floor(axes, floor, (BLUE, SKY, GREEN, PURPLE)[colour], label, DASHES[again % 4])
        _mark(axes, marks)
        return _finished(figure, axes)


def certified_accuracy(
    norm: str, curves: Sequence[tuple[str, pd.DataFrame]], marks: Sequence[float] = ()
) -> Figure:
    """Certified accuracy of several classifiers, over the radius (STN Fig. 1).

    Args:
        norm: "l2" or "l1".
        curves: (label, table) with eps, robust_accuracy, low, high.
        marks: radii of interest.

    Example:
        >>> import pandas as pd
        >>> from holdfast.report.figures import certified_accuracy
        >>> curve = pd.DataFrame({"eps": [0.0, 0.1], "robust_accuracy": [0.9, 0.4]})
        >>> curve = curve.assign(low=[0.8, 0.3], high=[1.0, 0.5])
        >>> figure = certified_accuracy("l2", [("sigma 0.25", curve), ("sigma 0.5", curve / 2)])
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['sigma 0.25', 'sigma 0.5']
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(norm)
        axes.set_ylabel("certified accuracy")
        for place, (label, curve) in enumerate(curves):
            rounds, colour = divmod(place, len(CYCLE))
            _floor(axes, curve, CYCLE[colour], label, DASHES[rounds % len(DASHES)])
        _mark(axes, marks)
        return _finished(figure, axes)


def bounds(panels: Sequence[tuple[str, pd.DataFrame]]) -> Figure:
    """Radii that several bounds make of the same two probabilities (SO Fig. 4).

    Args:
        panels: (title, table), side by side; each table has p1 and, for each bound, a column of
            radii in units of σ.

    Example:
        >>> import pandas as pd
        >>> from holdfast.report.figures import bounds
        >>> table = pd.DataFrame({"p1": [0.6, 0.9], "Cohen": [0.25, 1.28], "Rényi": [0.1, 0.9]})
        >>> bounds([("p₂ = 1 - p₁", table)]).axes[0].get_title()
        'p₂ = 1 - p₁'
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (title, table) in zip(
            figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
        ):
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("p₁, lower limit of the leading class")
            for place, name in enumerate(column for column in table if column != "p1"):
                axes.plot(table["p1"], table[name], color=CYCLE[place], label=_shown(name))
        figure.axes[0].set_ylabel("certified ℓ2 radius / σ")
        figure.axes[0].legend()
        return settled(figure)


def accuracy_by_attack(norm: str, cells: pd.DataFrame, names: Sequence[str] = ()) -> Figure:
    """Robust accuracy under each attack, over the perturbation's size.

    Args:
        norm: "linf", "l2", "l1" or "l0".
        cells: attack, eps, robust_accuracy, low, high.
        names: of all attacks of a report, so that each looks the same in all its figures.

    Example:
        >>> import pandas as pd
        >>> from holdfast.report.figures import accuracy_by_attack
        >>> curve = pd.DataFrame({"eps": [0.0, 0.1], "robust_accuracy": [0.9, 0.4]})
        >>> curve = curve.assign(low=[0.8, 0.3], high=[1.0, 0.5])
        >>> figure = accuracy_by_attack("linf", curve.assign(attack="pgd"))
        >>> figure.axes[0].get_xlabel()
        'size of the perturbation, ℓ∞'
    """
    places = {name: place for place, name in enumerate(names or cells["attack"].unique())}
    with mpl.rc_context(STYLE):
        figure, axes = _figure(norm)
        for attack, part in cells.groupby("attack", sort=False):
            rounds, style = divmod(places[str(attack)], len(ATTACKS))
            _with_intervals(
                axes,
                part.sort_values("eps"),
                ATTACKS[style],
                _MARKERS[style],
                str(attack),
                DASHES[rounds % len(DASHES)],
            )
        return _finished(figure, axes)


def _figure(norm: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, 3.7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_xlabel(f"size of the perturbation, {NORMS[norm]}")
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    return figure, axes


def _floor(axes: Axes, curve: pd.DataFrame, colour: str, label: str, dashes: str = "-") -> None:
    axes.plot(curve["eps"], curve["robust_accuracy"], dashes, color=colour, label=_shown(label))
    axes.fill_between(
        curve["eps"], curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0
    )


def _mark(axes: Axes, sizes: Sequence[float]) -> None:
    for size in sizes:
        axes.axvline(size, color=GREY, linestyle=":", linewidth=1)


def _with_intervals(
    axes: Axes, table: pd.DataFrame, colour: str, marker: str, label: str, dashes: str = "-"
) -> None:
    accuracy = table["robust_accuracy"]
    axes.errorbar(
        table["eps"],
        accuracy,
        yerr=[accuracy - table["low"], table["high"] - accuracy],
        color=colour,
        marker=marker,
        linestyle=dashes,
        capsize=2,
        elinewidth=0.9,
        label=_shown(label),
    )


def _shown(label: str) -> str:
    """A label for a legend, which would leave one out that begins with an underscore."""
    return f"\u200b{label}" if label.startswith("_") else label


def _finished(figure: Figure, axes: Axes) -> Figure:
    axes.set_xlim(left=0)
    handles, labels = axes.get_legend_handles_labels()
    # Long labels are broken, and the figure grows by what they take: the plot keeps its size.
    labels = ["\n    ".join(textwrap.wrap(label, _LABEL)) for label in labels]
    lines = sum(1 + label.count("\n") for label in labels)
    figure.set_figheight(figure.get_figheight() + 0.17 * max(0, lines - 4))
    figure.legend(handles, labels, loc="outside lower left", ncols=1, fontsize=8)
    return settled(figure)
