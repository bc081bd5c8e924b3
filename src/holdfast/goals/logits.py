"""The logits that every score is made of, and the numbers that are made of them."""

import torch
from torch import Tensor

from holdfast.checks import form_checked, try_model
from holdfast.errors import InputError
from holdfast.recorded import recorded
from holdfast.types import Images, Logits, Model, PerExample

__all__ = ["logits_of", "one_each"]


def logits_of(model: Model, x: Images) -> Logits:
    """The model's logits, in float32 at least: bfloat16 cannot tell a small margin from none.

    Raises:
        ModelError: if the model raises anything, or returns no (N, K) floating-point numbers.

    Example:
        >>> from holdfast.goals import logits_of
        >>> logits_of(model, x).shape  # (N, K)
        torch.Size([4, 3])
    """
    logits = form_checked(try_model(model, x), len(x))
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def one_each(value: Tensor, like: Tensor, made_by: object) -> PerExample:
    """What a loss or a penalty gave, which is one number for each image.

    A mean would let an image be judged by the others of its batch.

    Args:
        value: what it gave.
        like: (N, ...) what it was given.
        made_by: the loss or the penalty, to name it.

    Raises:
        InputError: if it gave anything else.

    Example:
        >>> from torch.nn.functional import cross_entropy
        >>> from holdfast.goals.logits import one_each
        >>> one_each(cross_entropy(model(x), y), x, cross_entropy)
        Traceback (most recent call last):
        holdfast.errors.InputError: cross_entropy gave shape () for 4 images, but must give one ...
    """
    if value.shape != like.shape[:1]:
        raise InputError(
            f"{recorded(made_by)} gave shape {tuple(value.shape)} for {len(like)} images, but must "
            f"give one number for each, shape ({len(like)},): of torch's losses take those with "
            'reduction="none".'
        )
    return value
