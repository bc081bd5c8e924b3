"""``holdfast diagnose surface``: the loss around an image, seen."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from holdfast.cli.diagnose.command import Shown, command, mean_known
from holdfast.cli.options import Number
from holdfast.diagnose import Diagnosis, loss_surface, predictions, signed_directions
from holdfast.diagnose.by_image import Found
from holdfast.errors import InputError
from holdfast.models import loading
from holdfast.report import diagnoses as figures
from holdfast.tensors import fingerprint
from holdfast.types import Images, Labels, Model


@command(images=2)
def surface(
    *,
    other: str,
    eps: Number = Number(0.3),
    points: int = 41,
) -> Shown:
    r"""Show the loss on the plane through an image along two signed gradients.

    The loss at x + a g + b h, where g is the sign of the model's gradient, and h the vector of
    signs orthogonal to g that follows the gradient of another model best (EAT, figures 1, 4 and 5).
    Every image has a figure from above for each model, and one of landscapes with all of them.

    Example:
        holdfast diagnose surface --model runs/natural,runs/adversarial --other runs/static \
            --data mnist --eps 0.3 --out runs/surface

    Args:
        other: Model whose gradient gives the second direction, trained independently.
        eps: Largest a and b, on the [0, 1] scale.
        points: Along each side of the grid; odd, so that the image itself is one.
    """
    if not (eps > 0 and math.isfinite(eps) and points >= 3 and points % 2):
        raise InputError(
            f"--eps is {eps:g} and --points {points}, but a surface needs a finite positive size "
            "and an odd number of points a side from 3 on, so that the image itself is one."
        )
    second = loading.load(other).eval()

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        across = second.to(x.device)
        g, h = signed_directions(model, across, x, y, seed=seed, index=index)
        grid = loss_surface(model, x, y, g, h, eps, points=points, seed=seed, index=index)
        clean = predictions({"model": model}, x, seed=seed, index=index)[0]
        return {
            "prediction": clean,
            "fooled": (grid.prediction != y[:, None, None]),
            "loss": grid.loss,
            "g": g,
            "across": h,
        }

    def summary(found: Found) -> dict[str, float]:
        return {
            "least_loss": mean_known(found["loss"].min(axis=(1, 2))),
            "largest_loss": mean_known(found["loss"].max(axis=(1, 2))),
            "fooled": float(found["fooled"].mean()),
        }

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        along = np.linspace(-eps, eps, points)
        titled = [(name if len(found) > 1 else "", of) for name, of in found.items()]
        made = {}
        for place, image in enumerate(titled[0][1]["index"]):
            for number, (title, of) in enumerate(titled):
                made[f"surface-{image}-{number}"] = figures.surface(
                    along, along, of["loss"][place], of["fooled"][place], title=title
                )
            losses = [(title, of["loss"][place]) for title, of in titled]
            made[f"landscape-{image}"] = figures.surface_3d(along, along, losses)
        return made

    settings = {
        "other": other,
        "other_fingerprint": fingerprint(second),
        "eps": float(eps),
        "points": points,
    }
    return Shown(Diagnosis("loss surface", settings, look, summary), drawn)
