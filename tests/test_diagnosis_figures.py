"""Figures of the diagnoses: they show the arrays that they are given, on a transparent ground."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from holdfast.report import diagnoses
from holdfast.report.diagnoses import canvas
from holdfast.report.style import save, standalone_svg

rng = np.random.default_rng(0)
GRID = np.linspace(-0.3, 0.3, 7)
NORMS = rng.random((5, 4))
LOSS = GRID[:, None] + 2 * GRID[None, :]
TABLE = pd.DataFrame({"epoch": [0, 1, 2], "accuracy": [0.9, 0.95, 0.97], "rho2": [0.1, 0.2, 0.3]})

FIGURES = {
    "linearity": lambda: diagnoses.linearity(
        [("a", rng.random(9), rng.random(9)), ("b", np.full(9, np.nan), rng.random(9))]
    ),
    "surface": lambda: diagnoses.surface(GRID, GRID, LOSS, LOSS > 0.2, "seven"),
    "surface_3d": lambda: diagnoses.surface_3d(GRID, GRID, [("a", LOSS), ("b", 0 * LOSS)]),
    "directions": lambda: diagnoses.directions([("a", np.array([0.7, 0.2])), ("b", np.ones(1))]),
    "discrepancies": lambda: diagnoses.discrepancies([("A", 0.3), ("B", 0.1)], 0.05),
    "gradient_norms": lambda: diagnoses.gradient_norms([("PGD", NORMS)]),
    "cosines": lambda: diagnoses.cosines([("m = 1", rng.random(50)), ("m = 10", np.ones(2))], 0.06),
    "convergence": lambda: diagnoses.convergence([("Clean", TABLE), ("Deep Defense", TABLE)]),
    "margins": lambda: diagnoses.margins([("a", rng.random(9)), ("b", np.full(9, np.nan))]),
    "similarities": lambda: diagnoses.similarities([("a", rng.random(9))]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_painted_behind_a_figure(name, tmp_path):
    figure = FIGURES[name]()
    grounds = [figure.get_facecolor(), *(axes.get_facecolor() for axes in figure.axes)]
    assert all(to_rgba(ground)[3] == 0 for ground in grounds)
    save(figure, tmp_path / name)
    for text in ((tmp_path / f"{name}.svg").read_text(), standalone_svg(figure)):
        assert "#fdfdfc" not in text
        assert "var(--paper)" not in text
    assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    # No text in black or white, one of which every page would swallow.
    for axes in figure.axes:
        for label in (axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels()):
            assert label.get_color() == canvas.INK


def test_every_figure_has_a_case():
    assert set(diagnoses.__all__) == set(FIGURES)


def test_the_curves_are_the_arrays():
    norms = FIGURES["gradient_norms"]().axes[0].lines[0]
    assert norms.get_ydata().tolist() == NORMS.mean(axis=1).tolist()
    steps = FIGURES["directions"]().axes[0].lines[0]
    assert steps.get_xydata().tolist() == [[1, 0.7], [2, 0.2], [3, 0.0]]
    left, right = FIGURES["convergence"]().axes
    assert left.lines[1].get_ydata().tolist() == TABLE["accuracy"].tolist()
    assert right.lines[0].get_ydata().tolist() == TABLE["rho2"].tolist()
    mean, low = FIGURES["discrepancies"]().axes[0].lines
    assert mean.get_xdata()[0] == pytest.approx(0.2)
    assert low.get_xdata()[0] == 0.05


def test_the_surface_has_epsilon_1_along_x():
    """LOSS[i, j] = along[i] + 2 across[j], so that each band of the loss lies along x + 2y = c."""
    figure = diagnoses.surface(GRID, GRID, LOSS, LOSS > 0.2)
    filled, boundary = figure.axes[0].collections[:2]
    bands = [path.vertices @ [1, 2] for path in filled.get_paths() if len(path.vertices)]
    assert len(bands) > 10
    assert all(np.ptp(band) < 0.2 for band in bands)
    assert len(boundary.get_paths()[0].vertices)
    assert figure.legends
    assert not diagnoses.surface(GRID, GRID, LOSS, LOSS > 9).legends  # no boundary in sight


@pytest.mark.parametrize("loss", [0.0, 0.4586296678])
def test_a_loss_that_is_the_same_everywhere_has_a_scale_that_can_be_read(loss):
    figure = diagnoses.surface(GRID, GRID, np.full((7, 7), loss), np.zeros((7, 7), dtype=bool))
    figure.draw_without_rendering()
    ticks = [float(text.get_text()) for text in figure.axes[1].get_yticklabels()]
    assert max(ticks) - min(ticks) > 0.5
    assert figure.axes[1].yaxis.get_offset_text().get_text() == ""


def test_a_model_of_which_nothing_is_known_is_named_all_the_same():
    """Such as one that an attack fooled with none of the images: its figure was an empty one."""
    figure = diagnoses.similarities([("a", np.array([])), ("b", np.array([0.9, 0.8]))])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a: of no image", "b"]
