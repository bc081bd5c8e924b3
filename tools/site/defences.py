"""What a defence does to a point of the square, and so to the answers of a network behind it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from holdfast.defenses import (
    LAYERS,
    MALADE,
    FirstLayerNoise,
    GaussianNoise,
    LaplaceNoise,
    SoundGaussianNoise,
)
from holdfast.models import InputDropout, Normalize
from holdfast.random import Stream, drawing_from
from tools.site import canvas, plane
from tools.site.toy import Toy

_SIGMA = 0.12
_POINT = torch.tensor([0.52, 0.5]).reshape(1, 1, 1, 2)
_DRAWS = 250


def draw(name: str) -> bytes | None:
    """The picture of a defence: where it leads points, where nothing else is said of it here."""
    figure, axes = canvas.square()
    if name in _DRAWN:
        _DRAWN[name](axes)
    else:
        _led(axes, LAYERS[name]())
    return canvas.svg(figure, name)


class Denoiser(nn.Module):
    """The best there is for a few points: their mean, by how likely each is behind the noise."""

    def __init__(self, points: Tensor, sigma: float) -> None:
        super().__init__()
        self.points, self.sigma = points, sigma

    def forward(self, x: Tensor) -> Tensor:
        """Images to images of the same shape."""
        distance = (x[:, None] - self.points[None]).flatten(2).square().sum(dim=2)
        weights = (-distance / (2 * self.sigma**2)).softmax(dim=1)
        return torch.einsum("np,p...->n...", weights, self.points)


def _draws(layer: nn.Module, x: Tensor, count: int = _DRAWS) -> Tensor:
    """(count, 2): what a layer makes of a point, draw by draw."""
    rng = Stream.of(0, torch.arange(count))
    with torch.no_grad(), drawing_from(rng):
        found: Tensor = layer(x.expand(count, *x.shape[1:])).flatten(1)
    return found


def _votes(layer: nn.Module) -> Callable[[Axes], None]:
    """Draws around a point, in the colours of their answers, and the borders of the vote."""

    def drawn(axes: Axes) -> None:
        toy = Toy()
        canvas.regions(axes, toy)
        noise = _draws(layer, torch.zeros(1, 1, 1, 2), 150)

        def vote(x: Tensor) -> Tensor:
            return sum(_one_hot(toy(x + by.reshape(1, 1, 1, 2))) for by in noise)  # type: ignore[return-value]

        canvas.borders(axes, _smooth(vote), linestyles="-", colors=canvas.MAIN, linewidths=1.6)
        _cloud(axes, _draws(layer, _POINT), toy)

    return drawn


def _one_hot(logits: Tensor) -> Tensor:
    return nn.functional.one_hot(logits.argmax(dim=1), 3).float()


def _smooth(vote: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: vote(x) + 1e-3 * Toy()(x)  # equal votes have no border


def _cloud(axes: Axes, found: Tensor, model: nn.Module) -> None:
    classes = model(found.reshape(-1, 1, 1, 2)).argmax(dim=1)
    across, up = found.T
    axes.scatter(across, up, c=[canvas.COLOURS[k] for k in classes], s=7, lw=0)
    axes.plot(*_POINT.flatten(), "o", color=canvas.BESIDE, ms=6)


def _sound(axes: Axes) -> None:
    """Within a few levels of an 8-bit image: where a draw can lie, and how often it does."""
    middle, reach, sigma = 128 / 255, 9 / 255, 2 / 255
    points = torch.full((1, 1, 1, 2), middle)
    axes.set(xlim=(middle - reach, middle + reach), ylim=(middle - reach, middle + reach))
    levels = torch.arange(119, 138) / 255
    axes.vlines(levels, 0, 1, color=canvas.FAINT, lw=0.4)
    axes.hlines(levels, 0, 1, color=canvas.FAINT, lw=0.4)
    across, up = _draws(GaussianNoise(sigma), points).T
    axes.scatter(across, up, s=5, color=canvas.FAINT, lw=0)
    places, often = _draws(SoundGaussianNoise(sigma), points).unique(dim=0, return_counts=True)
    across, up = places.T
    axes.scatter(across, up, s=9 * often, color=canvas.MAIN, lw=0)


def _first_layer(axes: Axes) -> None:
    """Noise behind a linear layer, and what noise at the image would be the same."""
    linear = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.6, 0.6], [0.0, 0.6]]))
    network = nn.Sequential(nn.Flatten(), linear, nn.Unflatten(1, (1, 1, 2)))
    noisy = FirstLayerNoise(network, _SIGMA, (1, 1, 2))
    found = _draws(noisy, _POINT) @ torch.linalg.inv(linear.weight.detach()).T
    toy = Toy()
    canvas.regions(axes, toy)
    _cloud(axes, found, toy)


def _led(axes: Axes, layer: nn.Module) -> None:
    """The answers behind a layer, the borders without it, and where points go."""
    canvas.regions(axes, nn.Sequential(layer, Toy()))
    canvas.borders(axes, Toy())
    x = _lattice()
    _arrows(axes, x, layer(x))


def _dropped(axes: Axes) -> None:
    """Where a point can go in training: half of its numbers are 0, the others doubled."""
    axes.set(xlim=(-0.05, 1.75), ylim=(-0.05, 1.85))
    canvas.regions(axes, Toy())
    x = torch.tensor([[0.35, 0.3], [0.8, 0.6], [0.25, 0.85]]).reshape(-1, 1, 1, 2)
    layer = InputDropout(0.5).train()
    for seed in range(12):
        with drawing_from(Stream.of(seed, torch.arange(len(x)))), torch.random.fork_rng():
            torch.manual_seed(seed)
            _arrows(axes, x, layer(x))


def _normalised(axes: Axes) -> None:
    """The unit square, and where the network sees it."""
    layer = Normalize([0.5], [0.25])
    axes.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2))
    ring = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]).float()
    axes.plot(*ring.T, color=canvas.BESIDE, ls="--", lw=1)
    axes.plot(*layer(ring.reshape(-1, 1, 1, 2)).reshape(-1, 2).T, color=canvas.MAIN, lw=1.6)
    x = torch.cat((ring[:4], torch.tensor([[0.5, 0.5]]))).reshape(-1, 1, 1, 2)
    _arrows(axes, x, layer(x))


def _chains(axes: Axes) -> None:
    """From points that an attack might leave, step by step back to where images are."""
    canvas.regions(axes, plane.plain())
    x, _ = plane.points()
    starts = torch.tensor([[0.62, 0.66], [0.4, 0.75], [0.28, 0.28], [0.87, 0.3]])
    sigma = 0.07
    for seed, start in enumerate(starts):
        steps: list[Any] = [start]
        for step in range(25):
            chain = MALADE(
                Denoiser(x, sigma), steps=1, alpha=sigma**2 / 3, delta=0.012, sigma=sigma
            )
            rng = Stream.of(1000 * seed + step, torch.arange(1))
            with torch.no_grad(), drawing_from(rng):
                steps.append(chain(steps[-1].reshape(1, 1, 1, 2)).flatten())
        axes.plot(*torch.stack(steps).T, color=canvas.MAIN, lw=1.2, marker=".", ms=3)
        axes.plot(*start, "o", color=canvas.BESIDE, ms=6)
    plane.scatter(axes)


def _lattice() -> Tensor:
    line = torch.tensor([0.14, 0.38, 0.62, 0.86])
    return torch.cartesian_prod(line, line).reshape(-1, 1, 1, 2)


def _arrows(axes: Axes, x: Tensor, to: Tensor) -> None:
    step = (to - x).flatten(1)
    look: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.006}
    axes.quiver(*x.flatten(1).T, *step.T, color=canvas.MAIN, **look)
    axes.plot(*x.flatten(1).T, "o", color=canvas.BESIDE, ms=4)


_DRAWN: Mapping[str, Callable[[Axes], None]] = {
    "dropout": _dropped,
    "first-layer-noise": _first_layer,
    "gaussian-noise": _votes(GaussianNoise(_SIGMA)),
    "laplace-noise": _votes(LaplaceNoise(_SIGMA)),
    "malade": _chains,
    "normalize": _normalised,
    "sound-gaussian-noise": _sound,
}
