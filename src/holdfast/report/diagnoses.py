"""Figures of the diagnoses; they take arrays, and know neither models nor attacks.

Their ground is transparent and their ink a grey that reads on white as on black, so that one file
serves a light page and a dark one.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from holdfast.report.style import BLUE, CYCLE, DASHES, ORANGE, RED, settled

__all__ = [
    "convergence",
    "cosines",
    "directions",
    "discrepancies",
    "gradient_norms",
    "linearity",
    "margins",
    "similarities",
    "surface",
    "surface_3d",
]

Values = Float[np.ndarray, "_"]

INK = "#6e7781"

STYLE: dict[Any, Any] = {
    **{f"{part}.facecolor": "none" for part in ("figure", "axes", "savefig")},
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    ),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlesize": 10,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}


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
        figure, (left, right) = _panels(2, share_y=True)
        for place, (label, ratio, cosine) in enumerate(models):
            _distribution(left, ratio, label, place)
            _distribution(right, cosine, label, place)
        left.set_xlabel("loss of one step / loss of many")
        right.set_xlabel("cosine of the two perturbations")
        left.set_xlim(0, 1)
        left.set_ylabel("fraction of images up to there")
        _legend(figure, left)
        return settled(figure)


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
        filled = axes.contourf(along, across, loss.T, levels=24, cmap="viridis")
        bar = figure.colorbar(filled, label="loss")
        bar.outline.set_visible(False)
        if fooled.any() and not fooled.all():
            axes.contour(along, across, fooled.T.astype(float), levels=[0.5], colors=[RED])
            axes.plot([], [], color=RED, label="decision boundary")
            _legend(figure, axes)
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
    low = min(float(loss.min()) for _, loss in losses)
    high = max(float(loss.max()) for _, loss in losses)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * len(losses), 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        for place, (title, loss) in enumerate(losses, start=1):
            axes: Any = figure.add_subplot(1, len(losses), place, projection="3d")
            axes.plot_surface(
                first, second, loss, cmap="viridis", vmin=low, vmax=high, linewidth=0, rcount=80
            )
            axes.set(xlabel="ε₁, along g", ylabel="ε₂, along g⊥", zlabel="loss", title=title)
            axes.set_zlim(low, high if high > low else low + 1)
            axes.locator_params(nbins=5)
            axes.view_init(elev=28, azim=-60)
            for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
                axis.set_pane_color((0, 0, 0, 0))
                axis.line.set_color(INK)
            axes.set_box_aspect(None, zoom=0.85)
        return settled(figure)


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
        figure, (axes,) = _panels(1)
        most = max(len(fractions) for _, fractions in models)
        for place, (label, fractions) in enumerate(models):
            padded = np.concatenate([fractions, np.zeros(most + 1 - len(fractions))])
            number = np.arange(1, most + 2)
            axes.step(number, padded, where="post", label=label, **_line(place))
        axes.set(xlabel="number k of orthogonal directions", xlim=(1, most + 1))
        axes.set_ylabel("images with at least k")
        _percent(axes)
        _legend(figure, axes)
        return settled(figure)


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
        _legend(figure, axes)
        return settled(figure)


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
        figure, (axes,) = _panels(1)
        for place, (label, norms) in enumerate(attacks):
            axes.plot(norms.mean(axis=1), label=label, **_line(place))
        if all((norms.mean(axis=1) > 0).all() for _, norms in attacks):
            axes.set_yscale("log")
        axes.set(xlabel="iteration", ylabel="mean ‖∇L‖₂ over images")
        axes.set_xlim(left=0)
        _legend(figure, axes)
        return settled(figure)


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
        _legend(figure, axes)
        return settled(figure)


def convergence(methods: Sequence[tuple[str, pd.DataFrame]]) -> Figure:
    """Accuracy and ρ₂ over the epochs of several trainings (DD figures 2 and 8).

    Args:
        methods: (label, table with epoch, accuracy and rho2).

    Example:
        >>> import pandas as pd
        >>> from holdfast.report.diagnoses import convergence
        >>> table = pd.DataFrame({"epoch": [1, 2], "accuracy": [0.8, 0.9], "rho2": [0.1, 0.2]})
        >>> [axes.get_ylabel() for axes in convergence([("deep defense", table)]).axes]
        ['accuracy', 'ρ₂']
    """
    with mpl.rc_context(STYLE):
        figure, (left, right) = _panels(2)
        for axes, column, title in ((left, "accuracy", "accuracy"), (right, "rho2", "ρ₂")):
            for place, (label, table) in enumerate(methods):
                axes.plot(table["epoch"], table[column], marker="o", label=label, **_line(place))
            axes.set(xlabel="epoch", ylabel=title)
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        left.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
        right.set_ylim(bottom=0)
        _legend(figure, left)
        return settled(figure)


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
        figure, (axes,) = _panels(1)
        for place, (label, scores) in enumerate(models):
            _distribution(axes, scores, label, place)
        axes.set(xlabel=what, ylabel="fraction of images up to there")
        _legend(figure, axes)
        return settled(figure)


def _panels(count: int, *, share_y: bool = False) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(4.6 if count == 1 else 3.7 * count, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, count, sharey=share_y, squeeze=False)[0])


def _distribution(axes: Axes, values: Values, label: str, place: int) -> None:
    """The fraction of values up to each, with the mean marked below."""
    known = values[~np.isnan(values)]
    if len(known):
        axes.ecdf(known, label=label, **_line(place))
        axes.plot(known.mean(), 0.0, "^", color=_line(place)["color"], clip_on=False, zorder=3)
    _percent(axes)


def _percent(axes: Axes) -> None:
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))


def _line(place: int) -> dict[str, Any]:
    again, colour = divmod(place, len(CYCLE))
    return {"color": CYCLE[colour], "linestyle": DASHES[again % len(DASHES)]}


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=1, fontsize=8)
