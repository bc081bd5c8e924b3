"""``holdfast diagnose curvature``: does the second-order attack find the curvature it is after?"""

import math
from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from holdfast.cli.diagnose.command import Shown, command, mean_known
from holdfast.cli.options import Number
from holdfast.diagnose import Diagnosis, second_order_cosines
from holdfast.diagnose.by_image import Found
from holdfast.report import diagnoses as figures
from holdfast.types import Images, Labels, Model


@command()
def curvature(
    *,
    xi: Number = Number(0.1),
    sigma: Number = Number(0.1),
    samples: int = 10,
    iterations: int = 30,
) -> Shown:
    """Measure how near the second-order attack comes to the Hessian's leading eigenvector.

    |cos| to the leading eigenvector, at each image, of its gradient, of the gradient after one unit
    draw (SO, equation 3) and of the mean gradient over Gaussian draws (equation 4), beside what a
    random direction has.

    Example:
        holdfast diagnose curvature --model runs/net --images 100 --xi 2.8 --out runs/curvature

    Args:
        xi: Length of the unit draw of equation 3; sigma times the root of the image's size is as
            long as the draws of equation 4.
        sigma: Standard deviation of the draws of equation 4.
        samples: Draws that equation 4 averages over.
        iterations: Hessian-vector products that look for the eigenvector.
    """
    kinds = {
        "gradient": "gradient",
        "one_draw": "one unit draw (eq. 3)",
        "mean_of_draws": "mean of draws (eq. 4)",
    }

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        found = second_order_cosines(
            model,
            x,
            y,
            xi=xi,
            sigma=sigma,
            samples=samples,
            iterations=iterations,
            seed=seed,
            index=index,
        )
        return {
            **{kind: getattr(found, kind) for kind in kinds},
            "eigenvalue": found.leading.value,
            "residual": found.leading.residual,
            "eigenvector": found.leading.vector,
        }

    def chance(found: Found) -> float:
        return float((2 / (math.pi * found["eigenvector"][0].size)) ** 0.5)

    def summary(found: Found) -> dict[str, float]:
        names = (*kinds, "eigenvalue", "residual")
        return {**{name: mean_known(found[name]) for name in names}, "chance": chance(found)}

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        lines = [
            (f"{name}, {label}" if len(found) > 1 else label, of[kind])
            for name, of in found.items()
            for kind, label in kinds.items()
        ]
        return {"curvature": figures.cosines(lines, chance(next(iter(found.values()))))}

    settings = {
        "xi": float(xi),
        "sigma": float(sigma),
        "samples": samples,
        "iterations": iterations,
    }
    return Shown(Diagnosis("curvature", settings, look, summary), drawn)
