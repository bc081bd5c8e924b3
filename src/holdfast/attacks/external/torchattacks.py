"""torchattacks' attacks, by the names of their classes: ``torchattacks/PGD(steps=20)``."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.external.filled import filled
from holdfast.types import Images, Labels, Model, Threat

_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def attack(
    module: ModuleType, name: str, threat: Threat, parameters: Mapping[str, Any]
) -> Callable[[Model, Images, Labels], Tensor]:
    """A function that runs one of torchattacks' attacks."""
    kind = getattr(module, name)
    made = filled(kind, parameters, threat, _NORMS)
    takes = inspect.signature(kind).parameters

    def craft(model: Model, x: Images, y: Labels) -> Tensor:
        classes = {}
        if "n_classes" in takes and "n_classes" not in made:
            with torch.no_grad():
                classes = {"n_classes": model(x[:1]).shape[1]}
        with redirect_stdout(StringIO()):  # it prints that a model without weights has no device
            made_for = kind(model, **made, **classes)
        return made_for(x, y)

    return craft
