"""Attacks of other libraries as callables (model, x, y) -> x_adv.

foolbox, torchattacks (which carries an AutoAttack), adversarial-library and ART. A library is
imported when its attack runs, so that a missing one is one missing column.
"""

import importlib
import sys
import types
import warnings
from typing import Any

import numpy as np
import torch
from contest import Crafts
from torch import Tensor, nn


def foolbox(attack: str, eps: float | None = None, **settings: Any) -> Crafts:
    """An attack of foolbox, by the name of its class; no ``eps``: the smallest perturbation."""

    def craft(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import foolbox

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = foolbox.models.pytorch.PyTorchModel(model, bounds=(0, 1))
            run = getattr(foolbox.attacks, attack)(**settings)
            torch.manual_seed(0)
            raw, clipped, _ = run(wrapped, x, y, epsilons=eps)
        # An attack without a limit that gives up returns None for the whole batch, or black images.
        return x if raw is None else (raw if eps is None else clipped).detach()

    return craft


def torchattacks(attack: str, **settings: Any) -> Crafts:
    """An attack of torchattacks, by the name of its class."""

    def craft(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import torchattacks

        torch.manual_seed(0)
        return getattr(torchattacks, attack)(model, **settings)(x, y)

    return craft


def autoattack(norm: str, eps: float, classes: int = 10) -> Crafts:
    """AutoAttack's standard suite out of torchattacks' parts, each with the published budget.

    torchattacks' own ``AutoAttack`` leaves APGD, APGD-T and FAB-T at its default of 10 steps; 100
    are published.
    """

    def craft(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        from torchattacks import APGD, APGDT, FAB, MultiAttack, Square

        torch.manual_seed(0)
        ball = {"norm": norm, "eps": eps, "seed": 0}
        cascade = MultiAttack(
            [
                APGD(model, steps=100, loss="ce", **ball),
                APGDT(model, steps=100, n_classes=classes, **ball),
                FAB(model, steps=100, multi_targeted=True, n_classes=classes, **ball),
                Square(model, n_queries=5000, **ball),
            ]
        )
        return cascade(x, y)

    return craft


def adversarial_library(attack: str, **settings: Any) -> Crafts:
    """An attack of adversarial-library, by the name of its function below ``adv_lib.attacks``."""

    def craft(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        # It imports visdom for its live plots, which nothing here draws.
        stub = types.ModuleType("visdom")
        stub.Visdom = object  # type: ignore[attr-defined]
        sys.modules.setdefault("visdom", stub)
        module, _, function = f"adv_lib.attacks.{attack}".rpartition(".")

        torch.manual_seed(0)
        run = getattr(importlib.import_module(module), function)
        return run(model, x, y, **settings).detach()

    return craft


def art(attack: str, classes: int = 10, **settings: Any) -> Crafts:
    """An evasion attack of the Adversarial Robustness Toolbox, by the name of its class."""

    def craft(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        from art.attacks import evasion
        from art.estimators.classification import PyTorchClassifier

        np.random.seed(0)  # noqa: NPY002, ART draws from NumPy's global generator
        torch.manual_seed(0)
        classifier = PyTorchClassifier(
            model,
            nn.CrossEntropyLoss(),
            x.shape[1:],
            classes,
            clip_values=(0, 1),
            device_type="cpu",
        )
        run = getattr(evasion, attack)(classifier, verbose=False, **settings)
        return torch.as_tensor(run.generate(x.numpy(), y.numpy())).to(x)

    return craft
