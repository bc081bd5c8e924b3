"""A world of two numbers: a few points of three classes, and networks that learn them."""

from functools import cache
from typing import Any, TypeVar

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from holdfast.random import Stream
from holdfast.training import Standard, paced
from tools.site import canvas

M = TypeVar("M", bound=nn.Module)

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


def network(seed: int = 0, width: int = 64, outputs: int = 3) -> nn.Sequential:
    """Two hidden layers; its first is steep, so that it bends within the square."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        steep = nn.Linear(2, width)
        middle, last = nn.Linear(width, width), nn.Linear(width, outputs)
        with torch.no_grad():
            steep.weight *= 4
            steep.bias.uniform_(-3, 3)
    return nn.Sequential(nn.Flatten(), steep, nn.ReLU(), middle, nn.ReLU(), last)


def learn(model: M, objective: Any, steps: int = 120, rate: float = 1e-2) -> M:
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
    (across, up), colours = x.flatten(1).T, [canvas.COLOURS[k] for k in y]
    axes.scatter(across, up, c=colours, s=34, marker=marker, edgecolors="black", lw=0.7, zorder=3)
