"""A world of two numbers: a few points of three classes, and networks that learn them."""

from functools import cache
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from holdfast.random import Stream
from holdfast.training import Standard, paced
from tools.site import canvas

#: Half of what any two points of different classes are apart, in ℓ∞: what robust training can keep.
ROOM = 0.07


@cache
def points(count: int = 12) -> tuple[Tensor, Tensor]:
    """(N, 1, 1, 2) in the unit square and (N,) their classes, drawn once, with room around each."""
    draws, kept = torch.Generator().manual_seed(3), list[Tensor]()
    while len(kept) < count:
        point = 0.08 + 0.84 * torch.rand(2, generator=draws)
        if all((point - other).abs().max() > 2 * ROOM for other in kept):
            kept.append(point)
    return torch.stack(kept).reshape(-1, 1, 1, 2), torch.arange(count) % 3


def network(seed: int = 0, width: int = 64) -> nn.Sequential:
    """Two hidden layers; its first is steep, so that it bends within the square."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(2, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 3),
        )
        with torch.no_grad():
            layers[1].weight *= 4
            layers[1].bias.uniform_(-3, 3)
    return layers


def learn(
    model: nn.Sequential, objective: Any, steps: int = 120, rate: float = 1e-2
) -> nn.Sequential:
    """The network after that many steps on all points at once."""
    x, y = points()
    optimiser = torch.optim.Adam(model.parameters(), rate)
    for step in range(steps):
        optimiser.zero_grad()
        rng = Stream.of(step, torch.arange(len(x)))
        loss, _ = paced(objective, step / steps)(model.train(), x, y, rng)
        loss.backward()
        optimiser.step()
    model.zero_grad(set_to_none=True)
    return model.eval()


@cache
def plain(seed: int = 0) -> nn.Sequential:
    """What plain training makes; not to be changed."""
    return learn(network(seed), Standard())


def scatter(axes: Axes, marker: str = "o") -> None:
    """The points, each in the colour of its class."""
    x, y = points()
    colours = [canvas.COLOURS[k] for k in y]
    axes.scatter(
        *x.flatten(1).T, c=colours, s=34, marker=marker, edgecolors="black", lw=0.7, zorder=3
    )
