"""What an attack does, in two dimensions: one run of any attack on a network of two inputs.

python -m tools.site.toy fab fab.svg
"""

import inspect
import math
import sys
import warnings
from typing import Any

import numpy as np
import torch
from matplotlib.patches import Circle, Polygon, Rectangle
from torch import Tensor, nn

from holdfast.attacks import ATTACKS
from holdfast.cli import registry
from holdfast.types import Threat
from tools.site import canvas

#: Of each norm, the radius of the ball in the picture; the nearest boundary lies within.
_EPS = {"linf": 0.22, "l2": 0.3, "l1": 0.32, "l0": 1.0}
_START = (0.46, 0.44)

#: About many pixels, or about where they lie: two say nothing of it.
_OF_IMAGES = ("salt-and-pepper", "sparse-rs", "spatial", "spatial+i-fgsm")

#: Fewer steps than by default, where so many would hide the way.
_SHORTER = {
    "alma": "steps=300",
    "boundary": "queries=300",
    "carlini-wagner": "steps=60, searches=3",
    "ddn": "steps=40",
    "ead": "steps=60, searches=3",
    "fmn": "steps=60",
    "hopskipjump": "queries=300",
    "nearest": "steps=300",
    "pdpgd": "steps=100",
    "sigma-zero": "steps=100",
    "square": "queries=200",
}


class Toy(nn.Module):
    """Three curved regions of the unit square, smooth and without anything to learn.

    It keeps the points that it is asked about.
    """

    def __init__(self) -> None:
        super().__init__()
        centres = [[0.38, 0.42], [0.86, 0.58], [0.32, 0.98]]
        self.centres = nn.Parameter(torch.tensor(centres), requires_grad=False)
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Logits, by how near each centre is, along a bent axis."""
        points = x.flatten(1)
        self.asked.append(points.detach())
        bent = torch.stack((points[:, 0] + 0.07 * torch.sin(9 * points[:, 1]), points[:, 1]), dim=1)
        return -18 * (bent[:, None] - self.centres).square().sum(dim=2)


def run(name: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """The points (M, 2) that an attack asks about, in order, and the one that it returns."""
    model = Toy().eval()
    x = torch.tensor(_START).reshape(1, 1, 1, 2)
    y = model(x).argmax(dim=1)
    model.asked.clear()
    written = [_SHORTER[name]] if name in _SHORTER else []
    if "early_stop" in inspect.signature(ATTACKS[name]).parameters:
        written.append("early_stop=False")  # the whole way
    attack = registry.attack(f"{name}({', '.join(written)})", registry.threat(norm, _EPS[norm]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x_adv = attack(model, x, y, seed=1)
    return torch.cat(model.asked).numpy(), x_adv.flatten().numpy()


def draw(name: str, norm: str) -> bytes | None:
    """The picture, as SVG on a transparent ground; None if it needs an image, or fails."""
    if name in _OF_IMAGES:
        return None
    asked, found = run(name, norm)
    if np.allclose(found, _START):
        return None  # it found nothing here, of which there is no picture
    figure, axes = canvas.square()
    canvas.regions(axes, Toy())
    _ball(axes, registry.threat(norm, _EPS[norm]))
    late = np.linspace(0.25, 1, len(asked))
    across, up = asked.T
    axes.scatter(across, up, c=late, cmap="Greys", vmin=0, vmax=1, s=9, lw=0)
    axes.plot(*np.stack((_START, found)).T, color=canvas.MAIN, lw=1.6)
    axes.plot(*_START, "o", color=canvas.BESIDE, ms=6)
    axes.plot(*found, "*", color=canvas.MAIN, ms=13)
    return canvas.svg(figure, name)


def _ball(axes: Any, threat: Threat) -> None:
    x, y = _START
    eps = threat.eps
    look: dict[str, Any] = {"fill": False, "edgecolor": "#555555", "lw": 1.0, "ls": "--"}
    if threat.p == math.inf:
        axes.add_patch(Rectangle((x - eps, y - eps), 2 * eps, 2 * eps, **look))
    elif threat.p == 2:
        axes.add_patch(Circle(_START, eps, **look))
    elif threat.p == 1:
        corners = [(x - eps, y), (x, y + eps), (x + eps, y), (x, y - eps)]
        axes.add_patch(Polygon(corners, **look))
    else:  # one component of two: the cross
        axes.plot((0, 1), (y, y), color="#555555", lw=1.0, ls="--")
        axes.plot((x, x), (0, 1), color="#555555", lw=1.0, ls="--")


if __name__ == "__main__":
    from tools.site.methods import ROUND_FIRST, first_norm

    drawn = draw(sys.argv[1], first_norm(sys.argv[1], ROUND_FIRST))
    if drawn is None:
        sys.exit(f"{sys.argv[1]} cannot be run on an image of two numbers.")
    with open(sys.argv[2], "wb") as file:
        file.write(drawn)
