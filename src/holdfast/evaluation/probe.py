"""What a model is asked before it is attacked: whether it is fit, whether it draws, what it is."""

from typing import Any, NamedTuple

import torch

from holdfast.checks import (
    check_classes,
    check_images,
    check_logits,
    probability_notes,
    try_model,
)
from holdfast.data import Data
from holdfast.declarations import is_stochastic
from holdfast.defenses.smoothed import noise_of
from holdfast.models.identity import identify
from holdfast.parameters import Seed
from holdfast.random import own_global_generator
from holdfast.tensors import device_of
from holdfast.types import Labels, Model

#: What is wrong with probabilities where an attack wants logits.
_FADES = "the cross-entropy takes their softmax again and its gradient fades, which masks weakness"

_UNDECLARED = (
    "the model answers the same images differently each time though no layer declares that it "
    "does: it is treated as stochastic, with averaged gradients and votes; set stochastic = True "
    "on the layer that draws, to say so."
)


class Probed(NamedTuple):
    """What a model answered.

    Attributes:
        prediction: (N,) of the first batch.
        stochastic: whether it draws random numbers, declared or not.
        notes: what must be said of it.
        record: what identifies it in a run.
    """

    prediction: Labels
    stochastic: bool
    notes: list[str]
    record: dict[str, Any]


def probe(
    model: Model,
    data: Data,
    *,
    seed: Seed,
    batch_size: int,
    draws: bool = False,
    asked: Model | None = None,
) -> Probed:
    """Check a model on the first batch of the data, and learn what it is.

    Args:
        model: in evaluation mode.
        data: the test set.
        seed: of draws that are none of Holdfast's.
        batch_size: images in the batch.
        draws: whether it is known to draw without a declaration, and has been said to.
        asked: in its place, such as the same without a memory, which is no draw; itself by default.

    Raises:
        InputError, ModelError: if model and data are not fit for each other.
    """
    device, asked = device_of(model), model if asked is None else asked
    with torch.no_grad(), own_global_generator(seed, device):
        x = data.x(next(data.batches(batch_size))).to(device)
        check_images(x)
        first = try_model(asked, x)
        check_logits(first, len(x))
        check_classes(data.y, first.shape[1])
        notes = probability_notes(first, _FADES)
        stochastic = draws or is_stochastic(model)
        if not stochastic and not torch.equal(first, try_model(asked, x)):
            stochastic = True
            notes.append(_UNDECLARED)
    sigma = noise_of(model)
    noise = {"sigma": None} if sigma is None else {"noise": sigma[0], "sigma": sigma[1]}
    record = {**identify(model, data), "stochastic": stochastic, **noise}
    return Probed(first.argmax(dim=1), stochastic, notes, record)
