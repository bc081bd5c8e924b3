"""Asking a model without a gradient: one forward pass, keyed randomness."""

import torch
from torch import Tensor

from holdfast.random import Stream, drawing_from
from holdfast.types import Score, Scored


def query(score: Score, x: Tensor, rng: Stream) -> Scored:
    """Score every image of the batch; no gradient is kept.

    Args:
        score: of the examples that ``x`` belongs to, one for one.
        x: (N, C, H, W) images in [0, 1].
        rng: the model's own randomness for this query, one stream for each image of ``x``; also
            how the images are counted.

    Example:
        >>> from holdfast.attacks.engine.queries import query
        >>> from holdfast.goals import margin
        >>> from holdfast.random import Stream
        >>> query(margin(model, x, y), x, Stream.of(0, torch.arange(4))).reached
        tensor([False, False, False, False])
    """
    with torch.no_grad(), drawing_from(rng.fold("model")):
        return score(x)
