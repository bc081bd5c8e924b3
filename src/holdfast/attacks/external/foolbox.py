"""foolbox' attacks, by the names of their classes: ``foolbox/LinfPGD(steps=20)``."""

import math
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from torch import Tensor

from holdfast.errors import InputError
from holdfast.types import Images, Labels, Model, Threat


def attack(
    module: ModuleType, name: str, threat: Threat, parameters: Mapping[str, Any]
) -> Callable[[Model, Images, Labels], Tensor]:
    """A function that runs one of foolbox' attacks."""
    run = getattr(module, name)(**parameters)
    norm = getattr(getattr(run, "distance", None), "p", threat.p)
    if norm != threat.p:
        raise InputError(
            f"foolbox/{name} is about the norm of order {norm:g}, but the threat is {threat!r}: "
            "give the --norm that it is made for."
        )

    def craft(model: Model, x: Images, y: Labels) -> Tensor:
        from foolbox.models.pytorch import PyTorchModel

        eps = None if math.isinf(threat.eps) else threat.eps
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that images were taken for labels, and the like
            wrapped = PyTorchModel(model, bounds=(0, 1))
            raw, clipped, _ = run(wrapped, x, y, epsilons=eps)
        found = raw if eps is None else clipped
        return x if found is None else found  # one without a limit gives a whole batch up

    return craft
