"""What would otherwise end a training in the middle, seen before its first step."""

import torch
from torch import nn

from holdfast.checks import check_classes, form_checked, try_model
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.random import kept_global_generators
from holdfast.tensors import device_of, eval_mode
from holdfast.training.schedule import Schedule


def check_trainable(network: nn.Module, data: Data, schedule: Schedule) -> None:
    """See that a network can be trained on a data set in batches of that size.

    Raises:
        InputError: if no weight is to be trained, weights and images are of two types, a label is
            no class of the network, or a batch is too small for batch normalisation.
        ModelError: if the network answers about an image with neither logits nor an image.

    Example:
        >>> from holdfast.data import Data
        >>> from holdfast.models import Architecture
        >>> from holdfast.training import Schedule
        >>> from holdfast.training.trainable import check_trainable
        >>> small = Architecture(name="small", shape=(1, 8, 8), classes=2)
        >>> check_trainable(small.build(), Data.of(x, y + 2), Schedule(epochs=1))
        Traceback (most recent call last):
        holdfast.errors.InputError: label 0 is ..., but the model has 2 classes, numbered 0 to 1.
    """
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    if not weights:
        raise InputError(
            "no weight of the network asks for a gradient, so that none would be trained; call "
            "requires_grad_() on those that are to be."
        )
    if weights[0].dtype != data.dtype:
        raise InputError(
            f"the weights are {weights[0].dtype} and the images {data.dtype}; bring the network "
            f"to the images' type, network.to({data.dtype}), or the images to its."
        )
    normalized = any(isinstance(layer, nn.BatchNorm1d) for layer in network.modules())
    if normalized and (len(data) - 1) % schedule.batch_size == 0:
        raise InputError(
            f"{len(data)} images in batches of {schedule.batch_size} make a batch of one, "
            "which batch normalisation cannot be trained on; choose another batch_size."
        )
    x = data.x(torch.arange(1)).to(device_of(network))
    with eval_mode(network), torch.no_grad(), kept_global_generators(x.device):
        answer = try_model(network, x)
    if getattr(answer, "shape", None) != x.shape:  # which a denoiser's is
        check_classes(data.y, form_checked(answer, 1).shape[1])
