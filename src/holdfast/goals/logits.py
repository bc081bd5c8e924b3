"""The logits that every score is made of."""

import torch

from holdfast.checks import form_checked, try_model
from holdfast.types import Images, Logits, Model

__all__ = ["logits_of"]


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
