"""Holdfast's attacks as ART's: ``HoldfastAttack(classifier, PGD(Linf(8 / 255))).generate(x, y)``.

The network is that of the `PyTorchClassifier`, with its preprocessing, and what it declares is
seen. Sizes of balls are those of images in [0, 1], whatever the classifier's ``clip_values`` are.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.attacks import Attack
from holdfast.bridges.aims import nothing_more, toward_classes
from holdfast.bridges.box import Box, Rescaled
from holdfast.errors import InputError
from holdfast.imports import needed
from holdfast.parameters import Seed, at_least_one
from holdfast.tensors import eval_mode

with needed("art", "holdfast.bridges.art"):
    from art.attacks.attack import EvasionAttack
    from art.estimators.classification import PyTorchClassifier
    from art.estimators.classification.classifier import ClassifierMixin
    from art.estimators.pytorch import PyTorchEstimator

__all__ = ["HoldfastAttack"]


class HoldfastAttack(EvasionAttack):
    """An evasion attack of ART that runs one of Holdfast's.

    Args:
        classifier: of PyTorch, whose model gives logits.
        attack: within a ball in [0, 1].
        targeted: whether ``y`` are the classes that images are to be taken for.
        batch_size: images at once; the result is the same whatever it is.
        seed: of all randomness.

    Example:
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from torch.nn import CrossEntropyLoss
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.bridges.art import HoldfastAttack
        >>> classifier = PyTorchClassifier(
        ...     model, CrossEntropyLoss(), (1, 8, 8), 3, clip_values=(0, 1), device_type="cpu"
        ... )
        >>> x_adv = HoldfastAttack(classifier, PGD(Linf(0.3))).generate(x.numpy(), y.numpy())
        >>> torch.equal(torch.from_numpy(x_adv), PGD(Linf(0.3))(model, x, y))
        True
    """

    attack_params = ("attack", "targeted", "batch_size", "seed")
    _estimator_requirements = (ClassifierMixin, PyTorchEstimator)

    def __init__(
        self,
        classifier: PyTorchClassifier,
        attack: Attack,
        *,
        targeted: bool = False,
        batch_size: int = 128,
        seed: Seed = 0,
    ) -> None:
        super().__init__(estimator=classifier)
        at_least_one(batch_size=batch_size)
        self.attack, self.batch_size, self.seed = attack, batch_size, seed
        self._targeted = targeted

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Adversarial images, as an array of the type of ``x``; of whole numbers, rounded.

        Args:
            x: (N, ...) images within the classifier's ``clip_values``, or in [0, 1].
            y: (N,) or (N, 1) classes, or (N, K) one-hot; those that the classifier predicts if it
                is left out.
            kwargs: nothing that is known; ART's attacks take masks there.

        Raises:
            InputTypeError: if there is something in ``kwargs``.
            InputError: if a targeted attack is given no targets, images leave ``clip_values``, or
                these are not the same for every pixel.
        """
        nothing_more(kwargs)
        classifier, box = self.estimator, _box(self.estimator)
        given = torch.from_numpy(x).to(classifier.device)
        if y is None and self.targeted:
            raise InputError("a targeted attack is told by y which classes to go to; give them.")
        network = _network(classifier, box)
        if y is None:
            with torch.no_grad(), eval_mode(network):
                parts = given.split(self.batch_size)
                labels = torch.cat([network(box.unit(part)).argmax(dim=1) for part in parts])
        else:
            labels = torch.from_numpy(_class_numbers(np.asarray(y)))
        labels = labels.to(classifier.device, torch.int64)
        found = [
            self._attacked(network, box.unit(given[index]), labels[index], index)
            for index in torch.arange(len(given)).split(self.batch_size)
        ]
        made = box.restored(torch.cat(found), given)
        if not given.is_floating_point():
            made = box.whole(made, given, self.attack.threat)
        return made.cpu().numpy().astype(x.dtype)

    def _attacked(self, network: torch.nn.Module, x: Tensor, y: Tensor, index: Tensor) -> Tensor:
        attack = toward_classes(self.attack, y) if self.targeted else self.attack
        with eval_mode(network):  # ART leaves it in whatever mode it last needed
            if self.targeted:
                with torch.no_grad():
                    y = network(x).argmax(dim=1)
            return attack(network, x, y, seed=self.seed, index=index)


def _class_numbers(y: np.ndarray) -> np.ndarray:
    """Labels in any form that ART's ``check_and_transform_label_format`` takes, as (N,) numbers."""
    if y.ndim != 2:
        return y
    return y[:, 0] if y.shape[1] == 1 else np.argmax(y, axis=1)


def _box(classifier: PyTorchClassifier) -> Box:
    """The classifier's bounds; [0, 1] if it says none."""
    if classifier.clip_values is None:
        return Box(0.0, 1.0)
    low, high = (np.unique(np.asarray(bound, dtype=float)) for bound in classifier.clip_values)
    if len(low) != 1 or len(high) != 1:
        raise InputError(
            "clip_values of the classifier are other for some pixels than for others, but images "
            "have one lower and one upper bound; give two numbers, such as clip_values=(0, 1)."
        )
    return Box(float(low[0]), float(high[0]))


def _network(classifier: PyTorchClassifier, box: Box) -> torch.nn.Module:
    """The classifier's network behind its preprocessing, on images in [0, 1]."""
    network: torch.nn.Module = classifier.model
    if box.is_unit and not classifier.preprocessing_operations:
        return network

    def answered(images: Tensor) -> Tensor:
        ready, _ = classifier._apply_preprocessing(images, y=None, fit=False, no_grad=False)
        return network(ready)

    rescaled = Rescaled(answered, box)
    rescaled.add_module("network", network)  # so that its mode, and what it declares, is reached
    return rescaled
