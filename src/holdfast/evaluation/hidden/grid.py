"""Whether a model answers otherwise a hair beside an image, or a hair off the 8-bit grid."""

from typing import Literal

import torch

from holdfast.auditing.fresh import fresh
from holdfast.evaluation.hidden.asking import answer, nearby, on_grid, same
from holdfast.random import Stream
from holdfast.types import Images, Model

#: A distance that changes no honest answer, and takes an image off the 8-bit grid.
_HAIR = 1e-5

#: Of the images, on which the answer has to change.
_MOST = 0.5


def grid_of(model: Model, x: Images, rng: Stream) -> Literal["", "grid", "content"]:
    """What hangs on the last digits of an image: whether it is an 8-bit one, or all of the answer.

    Args:
        model: is not asked itself, but by copies.
        x: a few images.
        rng: of the hairs, and seeds what it draws.
    """
    seed, level = rng.key % 2**31, on_grid(x)
    on, off, beside = (
        answer(fresh(model), images, seed=seed)
        for images in (level, *(nearby(level, rng.fold("hair", i), _HAIR) for i in range(2)))
    )
    if _other(off, beside):
        return "content"
    return "grid" if _other(on, off) else ""


def _other(one: torch.Tensor, other: torch.Tensor) -> bool:
    return float((~same(one, other)).double().mean()) > _MOST
