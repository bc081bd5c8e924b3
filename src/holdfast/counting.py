"""Exact numbers of forward and backward passes, in images, for each example of a batch."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from holdfast.random import active_stream

__all__ = ["Counted", "Tally", "backwards_at_once", "carries_several"]

_ONE = [1]

#: Gradients that one backward pass carries at once, for passes made within `backwards_at_once`.
_at_once: ContextVar[list[int]] = ContextVar("holdfast_backwards_at_once", default=_ONE)


@contextmanager
def backwards_at_once() -> Iterator[list[int]]:
    """Forward passes within the block have their backward passes counted as many times over.

    Yields:
        One number to set before the backward pass: how many gradients it carries, as when the
        gradients of all classes are taken together. It is bound at the forward pass, since on a
        GPU backward passes run in threads that know nothing of the block.

    Example:
        >>> from holdfast.counting import Counted, backwards_at_once
        >>> counted = Counted(model, torch.arange(4))
        >>> with backwards_at_once() as carried:
        ...     logits = counted(x.clone().requires_grad_())
        >>> carried[0] = 3  # one pass that stands for the gradients of three classes
        >>> logits.sum().backward()
        >>> counted.backwards
        tensor([3, 3, 3, 3])
    """
    carried = [1]
    token = _at_once.set(carried)
    try:
        yield carried
    finally:
        _at_once.reset(token)


def carries_several() -> bool:
    """Whether a backward pass of what is asked now may carry several gradients at once.

    Example:
        >>> from holdfast.counting import backwards_at_once, carries_several
        >>> with backwards_at_once():
        ...     within = carries_several()
        >>> within, carries_several()
        (True, False)
    """
    return _at_once.get() is not _ONE


class Counted(nn.Module):
    """A model that counts the images that pass through it.

    Which example an image belongs to is read off the stream that keys the pass. Passes that name
    no examples, as those of other libraries' attacks, are spread evenly.

    Args:
        model: the model.
        index: (N,) identities of the examples that will be attacked, increasing.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.counting import Counted
        >>> counted = Counted(model, torch.arange(4))
        >>> x_adv = PGD(Linf(0.1), steps=3, early_stop=False)(counted, x, y, seed=0)
        >>> counted.backwards
        tensor([3, 3, 3, 3])
    """

    def __init__(self, model: nn.Module, index: Int[Tensor, " n"]) -> None:
        super().__init__()
        self.model = model
        self._index = index
        self._forwards = torch.zeros_like(index)
        self._backwards = torch.zeros_like(index)
        self._spread = [0, 0]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Counted":
        """A copy of the model, whose passes count with this one's."""
        twin = Counted(copy.deepcopy(self.model, memo), self._index)
        twin.training = self.training
        twin._forwards, twin._backwards = self._forwards, self._backwards
        twin._spread = self._spread
        return twin

    @property
    def forwards(self) -> Int[Tensor, " n"]:
        """(N,) forward passes of each example."""
        return self._forwards + _evenly(self._spread[0], self._index)

    @property
    def backwards(self) -> Int[Tensor, " n"]:
        """(N,) backward passes of each example."""
        return self._backwards + _evenly(self._spread[1], self._index)

    def forward(self, x: Tensor) -> Tensor:
        """The model's logits."""
        stream = active_stream(len(x))
        place = None if stream is None else torch.searchsorted(self._index, stream.index)
        self._count(0, self._forwards, place, len(x), 1)
        logits: Tensor = self.model(x)
        if logits.requires_grad:
            carried = _at_once.get()
            logits.register_hook(
                lambda _: self._count(1, self._backwards, place, len(x), carried[0])
            )
        return logits

    def _count(
        self, kind: int, counts: Tensor, place: Tensor | None, images: int, times: int
    ) -> None:
        if place is None:
            self._spread[kind] += images * times
        else:
            counts.index_add_(0, place, torch.full_like(place, times))


class Tally(nn.Module):
    """A last layer that changes nothing and counts passes of single images, forward and back.

    Where only their sum is asked for, and a model is to keep its parts, whose names and order
    `Counted` hides. A copy counts with what it is a copy of. Of an interval that is carried
    through the network its centre and its radius are a pass each.

    Attributes:
        passes: that were counted, those of an image that is there n times n times.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.counting import Tally
        >>> tally = Tally()
        >>> x_adv = FGSM(Linf(0.1))(nn.Sequential(model, tally).eval(), x, y, seed=0)
        >>> tally.passes  # of four images
        8
    """

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tally":
        """Itself."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """What it is given."""
        self.passes += len(x)
        if x.requires_grad:
            carried = _at_once.get()
            x.register_hook(lambda _: self._back(len(x) * carried[0]))
        return x

    def _back(self, passes: int) -> None:
        self.passes += passes


def _evenly(total: int, index: Tensor) -> Tensor:
    each, rest = divmod(total, len(index))
    return each + (torch.arange(len(index), device=index.device) < rest).to(index.dtype)
