"""Robust accuracy while anyone trains with Lightning: a callback.

    trainer = Trainer(callbacks=[RobustAccuracyCallback(PGD(Linf(8 / 255)), images=256)])

It is logged by `LightningModule.log`, so that progress bars, checkpoints and early stopping can
follow it, and whatever logger the trainer has, TensorBoard, MLflow or W&B, draws it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.attacks import Attack
from holdfast.bridges.torchmetrics import RobustAccuracy
from holdfast.errors import InputError, InputTypeError, kind_of
from holdfast.imports import needed
from holdfast.models import Normalize
from holdfast.parameters import Seed, at_least_one, check_arguments, check_title

with needed("lightning", "holdfast.bridges.lightning"):
    try:
        from lightning.pytorch import Callback, LightningModule, Trainer
    except ImportError:  # the same under its older name
        from pytorch_lightning import Callback, LightningModule, Trainer  # type: ignore[assignment]

__all__ = ["RobustAccuracyCallback"]


class RobustAccuracyCallback(Callback):
    """Attacks images of the validation set after each epoch, and logs how many stay right.

    Batches are (images, labels, ...), images in [0, 1], or normalised by the data loader with
    ``mean`` and ``std``, which are then those of a layer in front of the network.

    Args:
        attack: any; a cheap one, since it runs in every validation.
        images: the first so many of the validation set in each process; all if None.
        every: validate so in every so manieth epoch.
        name: under which it is logged.
        network: takes the module to what maps images to logits; the module itself by default.
        mean: of each channel, that the data loader takes from images in [0, 1].
        std: of each channel, that it divides by.
        seed: of all randomness.
        top: right is an image while its label is among so many classes; see `RobustAccuracy`.

    Raises:
        InputTypeError: if one of these is of another type.
        InputError: if ``every``, ``images`` or ``top`` is below 1, or one of ``mean`` and ``std``
            is left out.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.bridges.lightning import RobustAccuracyCallback
        >>> RobustAccuracyCallback(FGSM(Linf(0.1)), images=256).name
        'robust_accuracy'
    """

    def __init__(
        self,
        attack: Attack,
        *,
        images: int | None = 256,
        every: int = 1,
        name: str = "robust_accuracy",
        network: Callable[[Any], nn.Module] = lambda module: module,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        seed: Seed = 0,
        top: int = 1,
    ) -> None:
        given = {"images": images, "every": every, "network": network, "mean": mean, "std": std}
        check_arguments(type(self).__init__, {"attack": attack, "seed": seed, **given})
        check_title("the metric", name)
        at_least_one(images=images, every=every)
        if (mean is None) is not (std is None):
            raise InputError("mean and std belong together: give both, or neither.")
        self.images, self.every, self.name, self.network = images, every, name, network
        self.normalize = None if mean is None or std is None else Normalize(mean, std)
        self.metric = RobustAccuracy(attack, seed=seed, top=top)

    @property
    def state_key(self) -> str:
        """By which two of them are told apart."""
        return f"{type(self).__qualname__}({self.name})"

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count anew."""
        del trainer
        self.metric.to(pl_module.device).reset()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Attack what is still to be attacked of the first validation set."""
        del outputs, batch_idx
        if dataloader_idx or trainer.sanity_checking or trainer.current_epoch % self.every:
            return
        x, y = _pair(batch)
        if self.images is not None:
            left = max(0, self.images - int(self.metric.total))
            x, y = x[:left], y[:left]
        if len(x):
            model, x = self._at_images(self.network(pl_module), x)
            self.metric.update(model, x, y)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log it, if anything was attacked."""
        del trainer
        if int(self.metric.total):
            pl_module.log(self.name, self.metric.compute(), prog_bar=True)

    def _at_images(self, model: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
        """The model on images in [0, 1], and these."""
        if self.normalize is None:
            return model, x
        layer = self.normalize.to(x.device)
        if len(layer.mean) not in (1, x.shape[1]):
            raise InputError(
                f"mean and std are of {len(layer.mean)} channels, but the images have "
                f"{x.shape[1]}: give one of each for every channel, or one for all."
            )
        with torch.inference_mode(False):
            return nn.Sequential(layer, model), (x.clone() * layer.std + layer.mean).clamp(0, 1)


def _pair(batch: Any) -> tuple[Tensor, Tensor]:
    """Images and labels, the first two parts of a batch.

    Raises:
        InputTypeError: if it has no order, or not both.
    """
    pair = tuple(batch[:2]) if isinstance(batch, tuple | list) else ()
    if len(pair) < 2 or not all(isinstance(part, Tensor) for part in pair):
        raise InputTypeError(
            f"a batch of the validation set is {kind_of(batch)}, but must be (images, labels, "
            "...), tensors; give the data loader a collate_fn that makes it so."
        )
    return pair[0], pair[1]
