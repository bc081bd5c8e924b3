"""``holdfast diagnose discrepancy``: is an adversary like those that a network was trained on?"""

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from holdfast.cli import registry
from holdfast.cli.diagnose.command import Shared, Shown, command
from holdfast.cli.options import Number, Words
from holdfast.diagnose import Diagnosis, predictions
from holdfast.diagnose import discrepancy as discrepancy_of
from holdfast.diagnose.by_image import Found
from holdfast.errors import InputError
from holdfast.models import loading
from holdfast.report import diagnoses as figures
from holdfast.tensors import fingerprint
from holdfast.types import Images, Labels, Model


@command()
def discrepancy(
    *,
    networks: Words,
    future: str,
    attack: str = "fgsm",
    future_attack: str = "fgsm",
    norm: str = "linf",
    eps: Number = Number(0.1),
    confidence: float = 0.95,
    _told: Shared,
) -> Shown:
    r"""Tell how unlike adversaries of training and one to come are, as networks see them.

    For each model, on which an adversary of training crafts, the largest difference over pairs of
    networks between how often they agree on its images and on the future adversary's (EAT, theorem
    5 and equation 10); their mean is the discrepancy. The theorem's supremum is over all functions
    and these networks are a few of them, so that this is a lower bound: a large value tells that
    the adversaries differ, a small one nothing. What is exceeded holds with the confidence, over
    all functions and images.

    Example:
        holdfast diagnose discrepancy --model runs/static-a,runs/static-c --future runs/held-out \
            --networks runs/net-1,runs/net-2,runs/net-3 --eps 0.3 --out runs/discrepancy

    Args:
        networks: The functions that are compared in pairs: at least two models, between commas.
        future: Model on which the adversary to come crafts.
        attack: Attack of the adversaries of training.
        future_attack: Attack of the one to come.
        norm: Norm of the attackers' ball: linf, l2 or l1.
        eps: Size of the ball, on the [0, 1] scale.
        confidence: With which more than the exceeded value is there.
    """
    if len(networks) < 2 or len(set(networks)) < len(networks):
        raise InputError(
            f"--networks is {','.join(networks)!r}; give at least two different models, between "
            "commas, whose answers are compared."
        )
    if not 0 < confidence < 1:
        raise InputError(f"--confidence is {confidence}, but lies strictly between 0 and 1.")
    threat = registry.threat(norm, eps)
    past, coming = registry.attack(attack, threat), registry.attack(future_attack, threat)
    other = loading.load(future).eval()
    functions = {name: loading.load(name).eval() for name in networks}
    # Of one model's part in the sum, so that all parts together hold with the confidence.
    apart = 1 - (1 - confidence) / len(_told.model)

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        of = {name: function.to(x.device) for name, function in functions.items()}
        crafted = {
            "past": past(model, x, y, seed=seed, index=index),
            "future": coming(other.to(x.device), x, y, seed=seed, index=index),
        }
        return {
            name: predictions(of, x_adv, seed=seed, index=index).T
            for name, x_adv in crafted.items()
        }

    def summary(found: Found) -> dict[str, float]:
        part = discrepancy_of(
            [_answers(found, "past")], _answers(found, "future"), confidence=apart
        )
        return {"difference": part.value, "exceeded": part.low}

    def together(found: Mapping[str, Found]) -> dict[str, float]:
        first, *_ = found.values()  # the future adversary is the same for all
        whole = discrepancy_of(
            [_answers(of, "past") for of in found.values()],
            _answers(first, "future"),
            confidence=confidence,
        )
        return {"discrepancy": whole.value, "exceeded": whole.low}

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        parts = [(name, summary(of)["difference"]) for name, of in found.items()]
        return {"discrepancy": figures.discrepancies(parts, together(found)["exceeded"])}

    settings = {
        "networks": list(functions),
        "networks_fingerprint": [fingerprint(function) for function in functions.values()],
        "future": future,
        "future_fingerprint": fingerprint(other),
        "attack": repr(past),
        "future_attack": repr(coming),
        "confidence": confidence,
    }
    return Shown(Diagnosis("discrepancy", settings, look, summary), drawn, together)


def _answers(found: Found, adversary: str) -> Tensor:
    """(H, N) what the networks answer on an adversary's images."""
    return torch.from_numpy(found[adversary]).T
