"""``holdfast diagnose linearity``: is the gradient masked near the images?"""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from holdfast.cli import registry
from holdfast.cli.diagnose.command import Shown, command, mean_known
from holdfast.cli.options import Number
from holdfast.diagnose import Diagnosis
from holdfast.diagnose import linearity as linearity_of
from holdfast.diagnose.by_image import Found
from holdfast.diagnose.single_step import check_steps
from holdfast.report import diagnoses as figures
from holdfast.types import Images, Labels, Model


@command()
def linearity(
    *,
    single: str = "fgsm",
    multi: str = "i-fgsm(early_stop=False)",
    norm: str = "linf",
    eps: Number = Number(0.1),
) -> Shown:
    """Compare one step of an attack with many: where they differ, the gradient is masked.

    The approximation ratio is the loss after one step over the larger of the losses after one and
    after many; EAT does not say of which mean it speaks, so that both are told: the mean of the
    ratios, and the ratio of the mean losses. The cosine is between the two perturbations (EAT,
    section 4 and table 6).

    Example:
        holdfast diagnose linearity --model runs/natural,runs/adversarial --eps 0.3 --out runs/near

    Args:
        single: Attack of one step, as of evaluate.
        multi: Attack of many steps, with early_stop=False.
        norm: Norm of the attacker's ball: linf, l2 or l1.
        eps: Size of the ball, on the [0, 1] scale.
    """
    threat = registry.threat(norm, eps)
    one, many = registry.attack(single, threat), registry.attack(multi, threat)
    check_steps(one, many)

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        return vars(linearity_of(model, x, y, one, many, seed=seed, index=index))

    def ratio(found: Found) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # where both losses are 0, nothing can be said
            return found["single_loss"] / found["best_loss"]

    def summary(found: Found) -> dict[str, float]:
        means = {name: found[name].mean() for name in ("clean_loss", "single_loss", "best_loss")}
        return {
            "mean_of_ratios": mean_known(ratio(found)),
            "ratio_of_means": ratio(means).item() if means["best_loss"] > 0 else math.nan,
            "cosine": mean_known(found["cosine"]),
            **means,
            "gradient_norm": mean_known(found["gradient_norm"]),
        }

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        models = [(name, ratio(of), of["cosine"]) for name, of in found.items()]
        return {"linearity": figures.linearity(models)}

    settings = {"single": repr(one), "multi": repr(many)}
    return Shown(Diagnosis("linearity", settings, look, summary), drawn)
