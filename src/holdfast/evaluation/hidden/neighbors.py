"""Whether a model's answer about an image hangs on the images beside it in the batch."""

import torch

from holdfast.auditing.fresh import fresh
from holdfast.evaluation.hidden.asking import Alone, answer, same, steady
from holdfast.random import Stream
from holdfast.types import Images, Model


def neighbors_of(model: Model, x: Images, rng: Stream) -> tuple[str, bool]:
    """What a batch does to an answer, in words, and whether the model bears a batch of one.

    Args:
        model: is not asked itself, but by copies.
        x: at least three images.
        rng: seeds what it draws.
    """
    if len(x) < 3:
        return "", True
    seed = rng.key % 2**31
    others = 1 - x[1:].flip(-1)
    first = answer(fresh(model), x, seed=seed)[:1]
    alike = same(first, answer(fresh(model), torch.cat([x[:1], others]), seed=seed)[:1]).all()
    if alike or not steady(model, x, seed=seed):
        return "", True
    said = "answers about an image by what else is in the batch"
    try:
        answer(Alone(fresh(model)), x, seed=seed)
    except Exception:  # batch normalisation of a batch of one
        return said, False
    return said, True
