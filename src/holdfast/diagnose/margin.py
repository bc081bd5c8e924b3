"""How far images are from the boundary, as Deep Defense's authors measure it (DD equation 7).

Their code's DeepFool is not an attack: it knows no box, takes at most five steps, leaves from the
class that is predicted, so that a misclassified image has a distance too, and counts how far it has
come whether or not a boundary was crossed. The length is divided by that of what their networks are
given, the image less the mean image.
"""

import math
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from holdfast.attacks import deepfool_perturbation
from holdfast.attacks.engine.attack import prepared
from holdfast.errors import InputError
from holdfast.parameters import Seed
from holdfast.random import drawing_from
from holdfast.tensors import norm
from holdfast.threat import L2
from holdfast.types import Flags, Images, Labels, Model, PerExample

__all__ = ["Margins", "margins"]


class Margins(NamedTuple):
    """What `margins` found of each image.

    Attributes:
        right: whether it is classified rightly.
        crossed: whether DeepFool crossed a boundary.
        l2: ‖Δ‖₂.
        relative: ‖Δ‖₂ / ‖x - mean‖₂; NaN of an image that is the mean.

    Example:
        >>> from holdfast.diagnose import margins
        >>> found = margins(model, x, y)
        >>> bool((found.l2[found.right] > 0).all())
        True
    """

    right: Flags
    crossed: Flags
    l2: PerExample
    relative: PerExample


def margins(
    model: Model,
    x: Images,
    y: Labels,
    *,
    mean: Float[Tensor, "c h w"] | None = None,
    steps: int = 5,
    overshoot: float = 0.02,
    box: bool = False,
    seed: Seed = 0,
    index: Tensor | None = None,
) -> Margins:
    """DeepFool's distance of each image to the boundary of the class that is predicted.

        ‖Δ‖₂ and ‖Δ‖₂ / ‖x - mean‖₂,  Δ = Σ_t r_t,  r_t to the nearest face of f linearised at x + Δ

    ρ₂ as the authors' code prints it is the mean of ``relative``. `holdfast.metrics.rho` is another
    measure, of an attack: in the box, until it succeeds, 0 for misclassified images, over ‖x‖.

    When:
        For distances of whole sets in a few passes.

    When not:
        To bound a distance: DeepFool's are too large, so they compare networks and bound none.

    Traps:
        It leaves from the predicted class, knows no box by default, and counts what it walked
        whether or not a boundary was crossed: `holdfast.metrics.rho` of an attack is another number
        of the same name. Without ``mean`` the length is divided by ‖x‖.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K).
        x: (N, ...) images in [0, 1].
        y: (N,) true classes.
        mean: of the training images; 0 if none is given.
        steps: of DeepFool.
        overshoot: η of DeepFool.
        box: whether [0, 1] cuts its iterates.
        seed: of a stochastic model's draws.
        index: (N,) identity of each image; 0 ... N - 1.

    Raises:
        InputError: if a number is out of range.
        InputTypeError, InputError: see `holdfast.attacks.Attack.__call__`.

    Reference:
        Yan, Guo and Zhang, "Deep Defense", NeurIPS 2018, equation 7, by the authors' code.

    Example:
        >>> from holdfast.diagnose import margins
        >>> float(margins(model, x, y, mean=x.mean(dim=0)).relative.mean()) > 0
        True
    """
    if steps < 1 or not 0 <= overshoot < math.inf:
        raise InputError(
            f"steps is {steps} and overshoot {overshoot:g}, but must be at least 1 and 0."
        )
    with prepared(model, x, y, seed, index) as (checked, x0, labels, rng):
        with drawing_from(rng.fold("prediction")):
            predicted = checked(x0).detach().argmax(dim=1)
        walk = deepfool_perturbation(
            checked,
            x0,
            predicted,
            threat=L2(math.inf),
            rng=rng.fold("deepfool"),
            steps=steps,
            overshoot=overshoot,
            box=box,
        )
        length = norm(walk.delta, 2)
        size = norm(x0 if mean is None else x0 - mean.to(x0), 2)
        return Margins(
            predicted == labels, walk.reached, length, length / size.where(size > 0, math.nan)
        )
