"""``holdfast diagnose subspace``: in how many directions is a model fooled?"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from holdfast.cli import registry
from holdfast.cli.diagnose.command import Shown, command, mean_known
from holdfast.cli.options import Counts, Number
from holdfast.diagnose import Diagnosis, adversarial_directions, fraction_with_at_least, predictions
from holdfast.diagnose.by_image import Found
from holdfast.errors import InputError
from holdfast.parameters import each_once
from holdfast.report import diagnoses as figures
from holdfast.types import Images, Labels, Model


@command()
def subspace(
    *,
    norm: str = "linf",
    eps: Number = Number(0.1),
    orders: Counts = Counts((1, 4, 16, 36)),
) -> Shown:
    r"""Count the orthogonal directions around each image in which a model is fooled (GAAS).

    Of images that the model gets right; the others have none counted. An image has as many as the
    best of the orders finds (EAT, section 4.2, appendix E and figure 2), a lower bound.

    Example:
        holdfast diagnose subspace --model runs/net --data mnist --eps 0.3 \
            --orders 1,4,16,36,64,100 --out runs/subspace

    Args:
        norm: Norm of the directions: linf or l2.
        eps: Their size, on the [0, 1] scale.
        orders: Numbers of directions to try, between commas; in linf of 1, 4, 16, 36, 64, 100, in
            l2 any, and at most as many as an image has values.
    """
    each_once("--orders", orders)
    threat = registry.threat(norm, eps)
    if not orders:
        raise InputError("--orders is empty; give at least one, or several between commas.")

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        answer = predictions({"model": model}, x, seed=seed, index=index)[0]
        # Where the answer is right, it is the label; where not, nothing is counted.
        counts = adversarial_directions(model, x, answer, threat, orders, seed=seed, index=index)
        right = answer == y
        counts = torch.where(right[:, None], counts, -1)
        return {"right": right.int(), "directions": counts.amax(dim=1), "counts": counts}

    def fractions(found: Found) -> np.ndarray:
        counts = torch.from_numpy(found["counts"][found["right"] == 1])
        return fraction_with_at_least(counts).numpy() if len(counts) else np.zeros(1)

    def summary(found: Found) -> dict[str, float]:
        most = found["directions"][found["right"] == 1]
        return {
            "right": mean_known(found["right"]),
            "at_least_one": mean_known(most >= 1),
            "mean_directions": mean_known(most),
            "most_directions": float(most.max()) if len(most) else math.nan,
        }

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        return {
            "subspace": figures.directions([(name, fractions(of)) for name, of in found.items()])
        }

    settings = {"threat": repr(threat), "orders": list(orders)}
    return Shown(Diagnosis("orthogonal directions", settings, look, summary), drawn)
