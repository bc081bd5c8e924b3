"""``holdfast diagnose perceptual``: do adversarial images look like what they were made of?"""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from holdfast.cli import registry
from holdfast.cli.diagnose.command import Shown, command, mean_known
from holdfast.cli.options import Number
from holdfast.diagnose import Diagnosis, perceptual_similarity, predictions
from holdfast.diagnose.by_image import Found
from holdfast.report import diagnoses as figures
from holdfast.types import Images, Labels, Model


@command()
def perceptual(
    *,
    attack: str = "deepfool",
    norm: str = "l2",
    eps: Number = Number(math.inf),
) -> Shown:
    """Score how much adversarial images look like the images that they were made of (PASS).

    Structural similarity after an alignment, 1 for images that look the same; of the images that
    the model gets right and that the attack makes it get wrong (DD, supplement, table 2). Needs
    pip install "holdfast[pass]".

    Example:
        holdfast diagnose perceptual --model runs/natural,runs/deep-defense --out runs/pass

    Args:
        attack: Attack that makes them, as of evaluate.
        norm: Norm of the attacker's ball: linf, l2 or l1.
        eps: Size of the ball, on the [0, 1] scale; inf for no limit, with attacks that look for the
            smallest perturbation.
    """
    made = registry.attack(attack, registry.threat(norm, eps))

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        x_adv = made(model, x, y, seed=seed, index=index)
        asked = {"model": model}
        both = [predictions(asked, of, seed=seed, index=index)[0] == y for of in (x, x_adv)]
        fooled = both[0] & ~both[1]
        score, aligned = perceptual_similarity(x, x_adv)
        return {
            "fooled": fooled.int(),
            "score": score.to(x.device),
            "aligned": aligned.int(),
            "x_adv": x_adv,
        }

    def scores(found: Found) -> np.ndarray:
        return found["score"][found["fooled"] == 1]

    def summary(found: Found) -> dict[str, float]:
        return {"fooled": mean_known(found["fooled"]), "pass": mean_known(scores(found))}

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        models = [(name, scores(of)) for name, of in found.items()]
        return {"perceptual": figures.similarities(models)}

    return Shown(Diagnosis("perceptual similarity", {"attack": repr(made)}, look, summary), drawn)
