"""Evasion attacks of the Adversarial Robustness Toolbox: ``art/ProjectedGradientDescent``."""

import inspect
import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.attacks.external.filled import filled
from holdfast.types import Images, Labels, Model, Threat

_NORMS = {"linf": math.inf, "l2": 2, "l1": 1}


def attack(
    module: ModuleType, name: str, threat: Threat, parameters: Mapping[str, Any]
) -> Callable[[Model, Images, Labels], Tensor]:
    """A function that runs one of ART's attacks."""
    kind = getattr(module, name)
    made = filled(kind, parameters, threat, _NORMS)
    takes = inspect.signature(kind).parameters
    quiet = {"verbose": False} if "verbose" in takes and "verbose" not in made else {}

    def craft(model: Model, x: Images, y: Labels) -> Tensor:
        from art.estimators.classification import PyTorchClassifier

        with torch.no_grad():
            classes = model(x[:1]).shape[1]
        classifier = PyTorchClassifier(
            model,
            nn.CrossEntropyLoss(),
            tuple(x.shape[1:]),
            classes,
            clip_values=(0.0, 1.0),
            device_type="gpu" if x.is_cuda else "cpu",
        )
        found = kind(classifier, **made, **quiet).generate(x.cpu().numpy(), y.cpu().numpy())
        return torch.as_tensor(found).to(x)

    return craft
