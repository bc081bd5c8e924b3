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
from holdfast.checks import check_images, check_labels
from holdfast.errors import InputError, InputTypeError, kind_of
from holdfast.imports import needed
from holdfast.parameters import Seed, at_least_one, check_arguments
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
        self.attack, self.batch_size, self.seed = attack, batch_size, seed
        self._targeted = targeted
        self._check_params()

    def _check_params(self) -> None:
        """What ART asks of its attacks when they are made and whenever a parameter is set."""
        super()._check_params()
        given = {name: getattr(self, name) for name in self.attack_params}
        check_arguments(HoldfastAttack.__init__, given)
        at_least_one(batch_size=self.batch_size)

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Adversarial images, as an array of the type of ``x``; of whole numbers, rounded.

        Args:
            x: (N, ...) images within the classifier's ``clip_values``, or in [0, 1].
            y: (N,) or (N, 1) classes, or (N, K) one-hot; those that the classifier predicts if it
                is left out.
            kwargs: nothing that is known; ART's attacks take masks there.

        Raises:
            InputTypeError: if images or labels are no numbers, or there is something in ``kwargs``.
            InputError: if there is not one label for each image, a targeted attack is given no
                targets, images leave ``clip_values``, or these are not the same for every pixel.
        """
        nothing_more(kwargs)
        classifier, box = self.estimator, _box(self.estimator)
        given = _tensor("the images", x).to(classifier.device)
        images = box.unit(given)
        check_images(images)
        network = _network(classifier, box)
        if y is None or np.ndim(y) == 0:  # ART makes an array of a None without a name
            if self.targeted:
                raise InputError(
                    "a targeted attack is told by y which classes to go to; give them."
                )
            with torch.no_grad(), eval_mode(network, images=images.dtype):
                parts = images.split(self.batch_size)
                labels = torch.cat([network(part).argmax(dim=1) for part in parts])
        else:
            labels = _class_numbers(_tensor("the labels", y)).to(classifier.device)
            check_labels(labels, len(images))
        found = [
            self._attacked(network, images[index], labels[index], index)
            for index in torch.arange(len(images)).split(self.batch_size)
        ]
        made = box.restored(torch.cat(found), given)
        if not given.is_floating_point():
            made = box.whole(made, given, self.attack.threat)
        return made.to(given.dtype).cpu().numpy()

    def _attacked(self, network: torch.nn.Module, x: Tensor, y: Tensor, index: Tensor) -> Tensor:
        attack = toward_classes(self.attack, y) if self.targeted else self.attack
        with eval_mode(network, images=x.dtype):  # ART leaves it in whatever mode it last needed
            if self.targeted:
                with torch.no_grad():
                    y = network(x).argmax(dim=1)
            return attack(network, x, y, seed=self.seed, index=index)


def _tensor(what: str, given: object) -> Tensor:
    """An array as a tensor, whatever its strides and the order of its bytes are.

    Raises:
        InputTypeError: if it holds no numbers.
    """
    array = np.asarray(given)
    if array.dtype.kind not in "iuf":
        raise InputTypeError(
            f"{what} are {kind_of(given)} of {array.dtype}, but must be an array of numbers."
        )
    return torch.from_numpy(np.ascontiguousarray(array, array.dtype.newbyteorder("=")))


def _class_numbers(y: Tensor) -> Tensor:
    """Labels in any form that ART's ``check_and_transform_label_format`` takes, as (N,) numbers."""
    if y.dim() == 2:
        y = y[:, 0] if y.shape[1] == 1 else y.argmax(dim=1)
    return y.long() if torch.equal(y, y.round()) else y  # ART's own are floating point at times


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
