"""``holdfast diagnose ibp``: how far do interval bounds certify a network?"""

import math
from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from holdfast.cli import registry
from holdfast.cli.diagnose.command import Shown, command, mean_known
from holdfast.cli.options import Numbers
from holdfast.diagnose import Diagnosis
from holdfast.diagnose.by_image import Found
from holdfast.diagnose.interval_bounds import bounds_within
from holdfast.errors import InputError
from holdfast.parameters import each_once
from holdfast.report.comparison import Compared, compared
from holdfast.types import Images, Labels, Model


@command()
def ibp(*, norm: str = "linf", eps: Numbers = Numbers((0.1,))) -> Shown:
    """Certify a network without noise, by interval bound propagation.

    An image is certified at a size if the bounds of all other logits stay below that of its label
    over the whole ball: no attack of that size can change the answer. Networks that were not
    trained for it, as --objective ibp does, are certified at tiny sizes alone.

    Example:
        holdfast diagnose ibp --model runs/ibp --data mnist --eps 0.1,0.2,0.3

    Args:
        norm: Norm of the ball: linf or l2.
        eps: Sizes of the ball between commas, on the [0, 1] scale.
    """
    each_once("--eps", eps)
    threats = {size: registry.threat(norm, size) for size in eps}
    if not threats:
        raise InputError("--eps is empty; give at least one size, or several between commas.")

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        del seed, index  # nothing is drawn
        bounds = bounds_within(model, x, y, list(threats.values()))
        found = dict(zip(threats, bounds, strict=True))
        return {
            "right": bounds[0].right,
            **{f"margin_{size:g}": of.margin for size, of in found.items()},
            **{f"certified_{size:g}": of.certified for size, of in found.items()},
        }

    def summary(found: Found) -> dict[str, float]:
        proven = {
            f"certified_{size:g}": mean_known(found[f"certified_{size:g}"]) for size in threats
        }
        return {"accuracy": mean_known(found["right"]), **proven}

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        curves = [
            Compared(
                name,
                [(size, of[f"certified_{size:g}"].mean(), math.nan, math.nan) for size in threats],
                printed=[],
            )
            for name, of in found.items()
        ]
        where = f"size of the ball, {norm}"
        return {"ibp": compared(where, "certified accuracy", curves, percent=True)}

    settings = {"norm": norm, "eps": list(threats)}
    return Shown(Diagnosis("ibp", settings, look, summary), drawn)
