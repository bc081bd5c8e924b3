"""adversarial-library's attacks, by the names of their functions: ``adv-lib/pgd_linf``."""

import math
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from torch import Tensor

from holdfast.attacks.external.filled import filled
from holdfast.types import Images, Labels, Model, Threat

_NORMS = {"linf": math.inf, "l2": 2, "l1": 1, "l0": 0}


def load(name: str) -> ModuleType:
    """The library's module; what it imports for plots that nothing draws is left out."""
    if "visdom" not in sys.modules and find_spec("visdom") is None:
        plots = ModuleType("visdom")
        plots.Visdom = object  # type: ignore[attr-defined]
        sys.modules.setdefault("visdom", plots)
    return import_module(name)


def attack(
    module: ModuleType, name: str, threat: Threat, parameters: Mapping[str, Any]
) -> Callable[[Model, Images, Labels], Tensor]:
    """A function that runs one of adversarial-library's attacks."""
    run = getattr(module, name)
    made = filled(run, parameters, threat, _NORMS, ("ε", "eps"), before=3)

    def craft(model: Model, x: Images, y: Labels) -> Tensor:
        return run(model, x, y, **made)

    return craft
