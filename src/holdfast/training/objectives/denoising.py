"""Denoising autoencoders, whose residual is a score: DAE, and the supervised sDAE of MALADE.

The network that these train is no classifier: it maps images to images.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from holdfast import losses
from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.training.frozen import Frozen
from holdfast.training.objectives.names import OBJECTIVES
from holdfast.types import Images, Labels, Model

__all__ = ["Denoising", "SupervisedDenoising", "equal_classes"]


@OBJECTIVES.named("dae")
@dataclass(frozen=True, kw_only=True)
class Denoising:
    """DAE: ‖r(x + ν) - x‖², ν ~ N(0, σ² I), the sum over all of C·H·W.

    At its minimum r(x) - x = σ² ∇ log p_σ(x), p_σ the images' density blurred by the noise
    (equation 9).

    When:
        For the denoiser of `MALADE` where there are no labels.

    When not:
        As a classifier or a defence of its own; with labels, `SupervisedDenoising`.

    Traps:
        The residual over σ² is a score only at the minimum, and of images blurred by the same σ:
        the chain must be given the σ of the training. The squares are summed over pixels, so that a
        loss by the mean is 1 / (C·H·W) of it.

    Attributes:
        sigma: σ > 0 of the noise, on the [0, 1] scale; σ² = 0.15 for MALADE's MNIST, 0.01 for
            CIFAR-10 and TinyImageNet.

    Raises:
        InputError: if sigma is not positive.

    Reference:
        MALADE equation 7.

    Example:
        >>> from torch import nn
        >>> from holdfast.random import Stream
        >>> from holdfast.training import Denoising
        >>> denoiser = nn.Conv2d(1, 1, 3, padding=1)
        >>> loss, terms = Denoising(sigma=0.4)(denoiser, x, y, Stream.of(0, torch.arange(4)))
        >>> bool(loss > 0)
        True
    """

    sigma: float

    def __post_init__(self) -> None:
        _check_sigma(self.sigma)

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        del y
        loss = _squared_errors(_denoised(model, x, self.sigma, rng), x).mean()
        return loss, {"loss": loss}


@dataclass(frozen=True, kw_only=True)
class SupervisedDenoising:
    """SDAE: ‖r(x + ν) - x‖² + w · 2σ² · CE(classifier(r(x + ν)), y), ν ~ N(0, σ² I), w = 1.

    The residual is then σ² times the score of p(x, y), of p(x | y) only where all classes are
    equally frequent. Where they are not, every image counts as its class says (`equal_classes`), as
    the paper asks after theorem 1.

    Equation 11 prints - 2σ² J. There J is the log-likelihood, as equation 14 shows, and not the
    cross-entropy that equation 1 calls J: the cross-entropy, which is - J, is added.

    When:
        For the denoiser of `MALADE`, with a classifier that is trained already.

    When not:
        Without labels: `Denoising`. As a defence without a chain, where both left the same on LeNet
        (docs/results/malade-langevin-dynamics/adaptive-attacks.md).

    Traps:
        Copying the sign of equation 11 with the cross-entropy for J trains it backwards. With w = 1
        the cross-entropy weighs next to nothing against a sum over the pixels, and MALADE is MALA;
        any other w is a variant, and not the paper's.

    Attributes:
        sigma: σ > 0 of the noise, on the [0, 1] scale; see `Denoising`.
        classifier: a trained network, which stays as it is; its gradient reaches r through r's
            images alone.
        weight: w > 0 of the cross-entropy, or "mean": C·H·W, which up to a factor is the squared
            error as a mean over the pixels and w = 1, a habit of TensorFlow code. Equation 11 has
            w = 1, with which the cross-entropy of an MNIST image, beside 784 squares, weighs next
            to nothing. Any other w is a variant and not the paper's: it breaks theorem 1, since the
            residual over σ² is then no longer the score of p(x, y), but that of p(x) · p(y | x)^w.
        class_weights: how much an image of each class counts, positive; all the same by default.

    Raises:
        InputError: if sigma or a weight is not positive; at a batch, if a label has no weight.

    Reference:
        MALADE equations 11 and 14, and what follows theorem 1.

    Example:
        >>> from torch import nn
        >>> from holdfast.random import Stream
        >>> from holdfast.training import Frozen, SupervisedDenoising
        >>> denoiser = nn.Conv2d(1, 1, 3, padding=1)
        >>> objective = SupervisedDenoising(sigma=0.4, classifier=Frozen(model, name="classifier"))
        >>> loss, terms = objective(denoiser, x, y, Stream.of(0, torch.arange(4)))
        >>> bool(loss > 0)
        True
    """

    sigma: float
    classifier: Frozen
    weight: float | Literal["mean"] = 1.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _check_sigma(self.sigma)
        if self.weight != "mean" and not (
            isinstance(self.weight, int | float) and math.isfinite(self.weight) and self.weight > 0
        ):
            raise InputError(
                f"weight is {self.weight!r}, but the cross-entropy needs a positive weight, or "
                "'mean' for the number of an image's values."
            )
        if self.class_weights is not None and not all(w > 0 for w in self.class_weights):
            raise InputError(
                f"class_weights are {self.class_weights}, but an image of any class counts for "
                "something: give positive numbers."
            )

    def __repr__(self) -> str:
        weight = "" if self.weight == 1 else f", weight={self.weight!r}"
        if self.class_weights is not None:
            weight += f", class_weights={self.class_weights}"
        return f"SupervisedDenoising(sigma={self.sigma}, classifier={self.classifier}{weight})"

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        denoised = _denoised(model, x, self.sigma, rng)
        counts = self._counts(y)
        error = (counts * _squared_errors(denoised, x)).mean()
        logits = self.classifier(denoised)
        cross_entropy = (counts * losses.cross_entropy(logits, y)).mean()
        weight = x[0].numel() if self.weight == "mean" else self.weight
        loss = error + weight * 2 * self.sigma**2 * cross_entropy  # equation 11, with - J = CE
        return loss, {
            "loss": loss,
            "squared_error": error,
            "cross_entropy": cross_entropy,
            "denoised_accuracy": (logits.argmax(dim=1) == y).float().mean(),
        }

    def _counts(self, y: Labels) -> Tensor | float:
        """How much each image counts."""
        if self.class_weights is None:
            return 1.0
        if int(y.max()) >= len(self.class_weights):
            raise InputError(
                f"there are {len(self.class_weights)} class_weights, but an image of class "
                f"{int(y.max())}; give one for each class."
            )
        return torch.tensor(self.class_weights, device=y.device)[y]


def equal_classes(y: Labels | Sequence[int]) -> tuple[float, ...]:
    """Weights by which all classes count equally, N / (K n_k), as MALADE asks after theorem 1.

    Args:
        y: (N,) labels of the training set, each class among them.

    Returns:
        (K,) weights, 1 on average over the images.

    Raises:
        InputError: if a class below the largest has no image.

    Example:
        >>> from holdfast.training import equal_classes
        >>> equal_classes([0, 0, 0, 1])
        (0.6666666666666666, 2.0)
    """
    frequency = torch.as_tensor(y).cpu().bincount()
    missing = (frequency == 0).nonzero().flatten().tolist()
    if missing:
        raise InputError(
            f"there is no image of class {missing[0]}, so no weight makes it count; train on "
            "images of all classes."
        )
    equal = frequency.sum().double() / (len(frequency) * frequency)
    return tuple(equal.tolist())


def _denoised(model: Model, x: Images, sigma: float, rng: Stream) -> Images:
    """What r makes of noisy images, r(x + ν).

    Raises:
        InputError: if r does not return images.
    """
    denoised: Tensor = model(x + sigma * rng.fold("noise").normal(x.shape[1:], x.dtype))
    if denoised.shape != x.shape:
        raise InputError(
            f"the network maps {tuple(x.shape)} to {tuple(denoised.shape)}, but a denoiser returns "
            "images of the same shape; train an autoencoder with this objective."
        )
    return denoised


def _squared_errors(denoised: Images, x: Images) -> Tensor:
    return (denoised - x).flatten(1).square().sum(dim=1)


def _check_sigma(sigma: float) -> None:
    if not (math.isfinite(sigma) and sigma > 0):
        raise InputError(f"sigma is {sigma}, but the noise needs a positive sigma.")
