"""Whether a model draws random numbers without saying so, however rarely."""

from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.auditing.fresh import fresh
from holdfast.evaluation.hidden.asking import nearby, on_grid, same
from holdfast.evaluation.hidden.tally import asks
from holdfast.parameters import Seed
from holdfast.random import Stream, kept_global_generators, seed_every_generator
from holdfast.types import Images, Model

#: Times that it is asked: of what draws once in fifty, 98 of 100 show it.
_TIMES = 200

#: A distance that changes no honest answer, and takes an image off the 8-bit grid.
_HAIR = 1e-4


class Drawn(NamedTuple):
    """How answers about the same image change.

    Attributes:
        said: in words; "" if they do not.
        by_call: they follow the number of the call, and no random numbers.
    """

    said: str
    by_call: bool = False


def draws_of(model: Model, x: Images, rng: Stream) -> Drawn:
    """Ask a model many times about one image, on the 8-bit grid and a hair off it.

    Args:
        model: is not asked itself, but by copies, which shows what hangs on the call's number.
        x: a few images.
        rng: of the draws.
    """
    one, alone = on_grid(x[:1]), rng.take(torch.zeros(1, dtype=torch.long, device=x.device))
    pair = torch.cat([one, nearby(one, alone.fold("hair"), _HAIR)])
    changed = _changed(model, pair, rng.key % 2**31)
    if not changed.any():
        return Drawn("")
    times = int(changed.any(dim=1).sum())
    if torch.equal(changed, _changed(model, pair, (rng.key + 1) % 2**31)) and times < _TIMES - 1:
        return Drawn(
            f"answers otherwise by the number of the call, {times} times in {_TIMES}", True
        )
    off = "" if changed[:, 0].any() else ", and only off the 8-bit grid"
    return Drawn(
        f"draws random numbers without declaring it, which showed {times} times in {_TIMES}{off}"
    )


@torch.no_grad()
def _changed(model: Model, x: Images, seed: Seed) -> Tensor:
    """(times, N) whether an answer is another one than the first."""
    asked = fresh(model)
    asks(_TIMES * len(x))
    with kept_global_generators(x.device):
        seed_every_generator(seed, x.device)
        answers = [asked(x.clone()).detach().double() for _ in range(_TIMES)]
    return torch.stack([~same(answers[0], each) for each in answers])
