"""What would otherwise end a training in the middle, seen before its first step."""

import copy

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from holdfast.checks import check_classes, form_checked, try_model
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.random import kept_global_generators
from holdfast.tensors import device_of, eval_mode
from holdfast.training.schedule import Schedule
from holdfast.types import Images


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
    x = data.x(torch.arange(1)).to(device_of(network))
    with eval_mode(network), torch.no_grad(), kept_global_generators(x.device):
        answer = try_model(network, x)
    if getattr(answer, "shape", None) != x.shape:  # which a denoiser's is
        check_classes(data.y, form_checked(answer, 1).shape[1])
    _check_parts(network, x, len(data), schedule)


def _check_parts(network: nn.Module, x: Images, images: int, schedule: Schedule) -> None:
    """Batch normalisation has no deviation of one number per channel, and fails.

    Several pixels of one image are enough for it: whether there are, only a pass can tell.
    """
    processes = schedule.processes
    parts = schedule.accumulate * processes.devices * processes.num_nodes
    batches = {min(images, schedule.batch_size), images % schedule.batch_size} - {0}
    normalized = any(isinstance(layer, _BatchNorm) for layer in network.modules())
    if not normalized or min(batches) >= 2 * parts:
        return
    trained = copy.deepcopy(network).train()  # whose statistics are thrown away
    try:
        with torch.no_grad(), kept_global_generators(x.device):
            trained(x)
    except ValueError as error:
        if "per channel" not in str(error):  # a layer of its own, with something else to say
            raise
        made = "make a batch" if parts == 1 else f"of {parts} parts each make a part"
        raise InputError(
            f"{images} images in batches of {schedule.batch_size} {made} of one, which batch "
            "normalisation cannot be trained on; choose another batch_size."
        ) from error
