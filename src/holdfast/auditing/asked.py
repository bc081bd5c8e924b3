"""A model that an audit asks again, within the passes that it may take."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from holdfast.auditing.purse import FEWEST, Purse, Spent
from holdfast.counting import Counted
from holdfast.data import Data
from holdfast.parameters import Seed
from holdfast.random import Stream, hash_seed, own_global_generator
from holdfast.tensors import device_of
from holdfast.types import Images, Labels, Model

#: Images that checks look at, at the most.
MOST = 32


@dataclass(frozen=True)
class Some:
    """Some of the images."""

    index: Tensor
    x: Images
    y: Labels

    def __len__(self) -> int:
        return len(self.index)

    def first(self, count: int) -> "Some":
        """At most so many of them, evenly spaced."""
        place = torch.linspace(0, len(self) - 1, min(count, len(self))).round().long()
        return Some(self.index[place], self.x[place], self.y[place])


class Asked:
    """A model whose passes are counted and paid for, and some of its images.

    Args:
        model: in evaluation mode.
        data: that the run was about.
        seed: of the run; the audit has a stream of its own.
        limit: forward and backward passes of single images that may be taken.

    Attributes:
        purse: the passes that are left.
        aside: passes that went through the model and were not counted there.
    """

    def __init__(self, model: Model, data: Data, *, seed: Seed, limit: float) -> None:
        self.data, self.seed = data, hash_seed(seed, "audit")
        self.model = Counted(model, torch.arange(len(data), device=device_of(model)))
        self.purse, self.aside = Purse(limit, lambda: self.passes), 0
        self.model.register_forward_pre_hook(self._pay)

    @property
    def passes(self) -> int:
        """Forward and backward passes of single images that the audit took so far."""
        return int(self.model.forwards.sum() + self.model.backwards.sum()) + self.aside

    @property
    def bare(self) -> Model:
        """The model itself, whose passes nobody counts."""
        return self.model.model

    @cached_property
    def any(self) -> Some:
        """Images of all kinds, at most `MOST`, evenly spaced."""
        total = len(self.data)
        return self.read(np.linspace(0, total - 1, min(MOST, total)).round().astype(int))

    def some(self, each: float, most: int = MOST, fewest: int = FEWEST) -> Some:
        """As many images of all kinds as the check under way can pay for."""
        return self.any.first(self.purse.images(each, most, min(fewest, len(self.any))))

    def read(self, index: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Some:
        """The images of these numbers, where the model is."""
        chosen = torch.as_tensor(np.asarray(index))
        device = device_of(self.bare)
        return Some(chosen, self.data.x(chosen).to(device), self.data.y[chosen].to(device))

    def rng(self, some: Some, *purpose: str | int) -> Stream:
        """The audit's own random numbers for some images."""
        return Stream.of(self.seed, some.index.to(some.x.device)).fold("audit", *purpose)

    def alone(self, *purpose: str) -> AbstractContextManager[None]:
        """Undeclared draws inside the block are the audit's own, and leave no trace."""
        return own_global_generator(hash_seed(self.seed, *purpose), device_of(self.bare))

    def _pay(self, _: Model, given: tuple[Images, ...]) -> tuple[Images, ...]:
        """See before a pass that the purse bears it, and the backward pass that may follow.

        The model is given a copy, as everywhere: it may work in place.
        """
        passes = len(given[0]) * (1 + given[0].requires_grad)
        if passes > self.purse.left:
            raise Spent("the limit of passes was reached before it was done.")
        return tuple(one.clone() for one in given)
