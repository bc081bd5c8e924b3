"""Asking a model again under other circumstances: as fresh copies, alone, and for answers."""

import torch
from torch import Tensor, nn

from holdfast.auditing.fresh import fresh
from holdfast.evaluation.hidden.tally import asks
from holdfast.parameters import Seed
from holdfast.random import Stream, drawing_from, kept_global_generators, seed_every_generator
from holdfast.types import Images, Logits, Model

#: What rounding may do to an answer, as a fraction of the largest: batches of other sizes, and
#: products of matrices with 10 bits (TF32), round otherwise.
_ROUNDING = 5e-3


class Forgetful(nn.Module):
    """A model that is asked as if it had never been asked before: every pass by a fresh copy.

    Args:
        model: its weights are shared by the copies, so that a copy is cheap; whatever else it
            keeps stays as it is now.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Images) -> Logits:
        """The copy's logits."""
        logits: Tensor = fresh(self.model)(x)
        return logits


class Alone(nn.Module):
    """A model that is asked about every image in a batch of its own.

    Args:
        model: whose answers would hang on the images beside.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Images) -> Logits:
        """(N, K), one pass for each image."""
        return torch.cat([self.model(one.clone()) for one in x.split(1)])


@torch.no_grad()
def answer(model: Model, x: Images, *, seed: Seed) -> Tensor:
    """What a model says with all that it may draw from seeded."""
    rng = Stream.of(seed, torch.arange(len(x), device=x.device))
    asks(len(x))
    with kept_global_generators(x.device), drawing_from(rng):
        seed_every_generator(seed, x.device)
        logits: Tensor = model(x.clone())  # it may work in place
    return logits.detach().double()


def steady(model: Model, x: Images, *, seed: Seed) -> bool:
    """Whether two copies give the same answer, so that no draw from elsewhere is in it."""
    return bool(same(*(answer(fresh(model), x, seed=seed) for _ in range(2))).all())


def same(one: Tensor, other: Tensor) -> Tensor:
    """(N,) whether two answers are the same but for rounding."""
    if one.shape != other.shape:
        return torch.zeros(len(one), dtype=torch.bool, device=one.device)
    within = _ROUNDING * one.nan_to_num().abs().amax().clamp(min=1e-30)
    apart = (one - other).abs().masked_fill(one.isnan() & other.isnan(), 0)
    return apart.flatten(1).amax(dim=1) <= within


def nearby(x: Images, rng: Stream, size: float) -> Images:
    """Images a little beside others, in the box."""
    noise = rng.uniform(x.shape[1:], x.dtype) * 2 - 1
    return (x + size * noise).clamp(0, 1)


def on_grid(x: Images) -> Images:
    """Images as an 8-bit file would hold them."""
    return (x * 255).round() / 255
