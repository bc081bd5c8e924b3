"""Robust and certified accuracy as torchmetrics, which sum over batches and processes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.attacks import Attack
from holdfast.certify import ABSTAIN
from holdfast.checks import Checked, check_images, check_index, check_labels, check_model
from holdfast.errors import InputError, InputTypeError
from holdfast.imports import needed
from holdfast.parameters import Seed, check_arguments, check_top
from holdfast.tensors import eval_mode, rank_of

with needed("torchmetrics", "holdfast.bridges.torchmetrics"):
    from torchmetrics import Metric

__all__ = ["CertifiedAccuracy", "RobustAccuracy"]


class RobustAccuracy(Metric):
    """The fraction of images that a model is right on, and stays right on under an attack.

    With ``top`` = k > 1 it is right while the label is among the k classes that it likes best. Give
    it an attack that aims at that, ``PGD(threat, goal=TopMargin(k))`` of `holdfast.goals`: one on
    the first class leaves it to chance where in the ranking the label ends, and gives an upper
    limit.

    Images are attacked when they are given. Only those that the model gets right are, and the
    randomness of each is that of the seed and of its place among all images given so far, or of
    ``index``. Attacks that go round randomness or a hidden gradient are made by
    `holdfast.evaluation.adapt`; `holdfast.evaluate` looks for what calls for them.

    Args:
        attack: any.
        seed: of all randomness.
        top: k, at least 1 and below the number of classes (torchmetrics' ``top_k``).

    Raises:
        InputTypeError: if one of these is of another type.
        InputError: if ``top`` is below 1.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.bridges.torchmetrics import RobustAccuracy
        >>> metric = RobustAccuracy(PGD(Linf(0.3)))
        >>> metric.update(model, x, y)
        >>> metric.compute()
        tensor(0.)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    right: Tensor
    total: Tensor

    def __init__(self, attack: Attack, *, seed: Seed = 0, top: int = 1) -> None:
        super().__init__()
        check_arguments(type(self).__init__, {"attack": attack, "seed": seed, "top": top})
        check_top(top)
        self.attack, self.seed, self.top = attack, seed, top
        self.add_state("right", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")
        self._seen = 0  # no state: torchmetrics resets states within forward, and sums processes'
        self._forward_from: int | None = None  # within forward: the place of its first image

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Count a batch, and give its own fraction."""
        self._forward_from = self._seen
        try:
            return super().forward(*args, **kwargs)
        finally:
            self._forward_from = None

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        if self._forward_from is None:  # forward resets the states, and puts them back
            self._seen = 0

    def update(self, model: nn.Module, x: Tensor, y: Tensor, index: Tensor | None = None) -> None:
        """Attack a batch and count what stands; in any mode of autograd, inference mode among them.

        Args:
            model: maps images in [0, 1] to logits; its mode and gradients are left as they are.
            x: (N, ...) images in [0, 1].
            y: (N,) labels.
            index: (N,) identity of each image; by default its place among those given.

        Raises:
            InputTypeError, InputError: if images, labels or ``index`` are not that, or there are no
                more classes than ``top``.
            ModelError: if the model does not return finite logits (N, K).
        """
        check_model(model)
        check_images(x)
        check_labels(y, len(x))
        first = self._seen if self._forward_from is None else self._forward_from
        index = check_index(range(first, first + len(x)) if index is None else index, len(x)).cpu()
        # What was made in inference mode has no gradient ever after, but its copy has.
        mode = eval_mode(model, images=x.dtype)
        with torch.inference_mode(False), torch.enable_grad(), mode:
            x, y = x.detach().clone(), y.detach().to(x.device, torch.int64, copy=True)
            with torch.no_grad():
                stands = self._right(Checked(model, y)(x), y)
            if stands.any():
                kept = stands.nonzero()[:, 0]
                found = self.attack(
                    model, x[kept], y[kept], seed=self.seed, index=index[kept.cpu()]
                )
                with torch.no_grad():
                    stands[kept] = self._right(model(found), y[kept])
        self.right += stands.sum().to(self.right)
        self.total += len(x)
        self._seen = first + len(x)

    def compute(self) -> Tensor:
        """A fraction; NaN of no images."""
        return self.right / self.total

    def _right(self, logits: Tensor, y: Tensor) -> Tensor:
        """(N,) whether the label comes first, or among the first k."""
        if self.top == 1:
            return logits.argmax(dim=1) == y
        check_top(self.top, logits.shape[1])
        return rank_of(logits, y) < self.top


class CertifiedAccuracy(Metric):
    """For each radius, the fraction of images whose right class is certified to hold within it.

    Args:
        radii: at which it is asked.

    Raises:
        InputTypeError: if they are no list of numbers.
        InputError: if there is none, or one below 0.

    Example:
        >>> from holdfast import certify
        >>> from holdfast.bridges.torchmetrics import CertifiedAccuracy
        >>> found = certify.certify_images(model, x, sigma=0.25, votes=200)
        >>> metric = CertifiedAccuracy((0.0, 0.25, 10.0))
        >>> metric.update(found.prediction, found.radius, y)
        >>> metric.compute().shape, float(metric.compute()[-1])
        (torch.Size([3]), 0.0)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    right: Tensor
    total: Tensor
    radii: Tensor

    def __init__(self, radii: Sequence[float]) -> None:
        super().__init__()
        check_arguments(type(self).__init__, {"radii": radii})
        if not radii or min(radii) < 0:
            raise InputError(f"radii are {tuple(radii)}, but must be at least one, none below 0.")
        self.register_buffer("radii", torch.tensor(radii, dtype=torch.float64), persistent=False)
        self.add_state("right", torch.zeros(len(radii), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, radius: Tensor, y: Tensor) -> None:
        """Count a batch of certificates.

        Args:
            prediction: (N,) certified classes; -1 where the smoothed classifier abstained.
            radius: (N,) within which they hold.
            y: (N,) labels.

        Raises:
            InputTypeError: if predictions or labels are no class numbers.
            InputError: if there is not one of each for each image, or a radius is no number of at
                least 0.
        """
        device = self.right.device
        prediction, radius, y = (
            torch.as_tensor(given).to(device) for given in (prediction, radius, y)
        )
        if prediction.dim() != 1 or prediction.shape != radius.shape:
            raise InputError(
                f"the predictions have shape {tuple(prediction.shape)} and the radii "
                f"{tuple(radius.shape)}, but there is one of each for each image, shape (N,)."
            )
        if prediction.is_floating_point() or prediction.dtype == torch.bool:
            raise InputTypeError(
                f"the predictions have type {prediction.dtype}, but must be class numbers; "
                f"{ABSTAIN} where the smoothed classifier abstained."
            )
        if not (radius >= 0).all():  # also true of NaN
            first = int((~(radius >= 0)).int().argmax())
            raise InputError(
                f"radius {first} is {float(radius[first]):g}, but must be a number of at least 0; "
                "that of an abstention is 0."
            )
        check_labels(y, len(prediction))
        sure = (prediction == y) & (prediction != ABSTAIN)
        self.right += (sure[:, None] & (radius[:, None] >= self.radii)).sum(dim=0)
        self.total += len(y)

    def compute(self) -> Tensor:
        """(R,) fractions; NaN of no images."""
        return self.right / self.total
