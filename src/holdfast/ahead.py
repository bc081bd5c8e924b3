"""Random numbers of the batches to come, drawn with those of the first: the same, in fewer steps.

Philox is a hundred operations, on however many numbers. Where a batch is small, most of their time
goes into beginning them, on a GPU above all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Shaped
from torch import Tensor

from holdfast.random import Stream, Transform, blocks_at_once, hash_seed

__all__ = ["batches_of_copies"]

#: Four numbers of float32, or two of int64.
_BYTES_OF_A_BLOCK = 16


def batches_of_copies(
    rng: Stream, first: int, last: int, at_once: int
) -> Iterator[tuple[int, Stream]]:
    """The copies ``first`` to ``last - 1`` of every example, so many at once, and which is first.

    To be drawn from in their order. What a layer draws from one of these streams is drawn for as
    many as one step of the generator holds, and kept for them.

    Example:
        >>> from holdfast.ahead import batches_of_copies
        >>> from holdfast.random import Stream
        >>> rng = Stream.of(0, torch.arange(4))
        >>> drawn = {at: batch.normal((3,)) for at, batch in batches_of_copies(rng, 0, 5, 2)}
        >>> {at: len(batch) for at, batch in drawn.items()}
        {0: 8, 2: 8, 4: 4}
        >>> bool((torch.cat(list(drawn.values())) == rng.copies(0, 5).normal((3,))).all())
        True
    """
    ahead = _Ahead(rng, last)
    for start in range(first, last, at_once):
        stop = min(start + at_once, last)
        copies = rng.copies(start, stop)
        yield start, _Batch(copies.key, copies.index, copies.copy, start, stop, ahead)


@dataclass(frozen=True, eq=False)
class _Batch(Stream):
    """Some copies of every example, whose numbers come from ``ahead``."""

    first: int
    last: int
    ahead: "_Ahead"

    def fold(self, *purpose: str | int) -> Stream:
        return replace(self, key=hash_seed(self.key, *purpose))

    def fill(
        self, shape: Sequence[int], dtype: torch.dtype, lanes: int, transform: Transform
    ) -> Shaped[Tensor, "n ..."]:
        return self.ahead.fill(self, (tuple(shape), dtype, lanes, transform))


#: What `Stream.fill` takes.
_How = tuple[tuple[int, ...], torch.dtype, int, Transform]


@dataclass(frozen=True)
class _Held:
    """The numbers of the copies ``first`` to ``last - 1``."""

    first: int
    last: int
    drawn: Tensor


class _Ahead:
    """Draws for more copies of the examples of ``rng`` than are asked for, up to ``last``."""

    def __init__(self, rng: Stream, last: int) -> None:
        self._rng, self._last = rng, last
        self._held: dict[tuple[int, _How], _Held] = {}

    def fill(self, batch: _Batch, how: _How) -> Tensor:
        """The numbers of a batch, which are the caller's own."""
        name = (batch.key, how)
        held = self._held.get(name)
        if held is None or held.last < batch.last:
            self._held.pop(name, None)
            held = self._drawn(batch, how)
            self._held[name] = held
        if held.last == batch.last:
            del self._held[name]
        start, stop = ((copy - held.first) * len(self._rng) for copy in (batch.first, batch.last))
        return held.drawn if stop - start == len(held.drawn) else held.drawn[start:stop].clone()

    def _drawn(self, batch: _Batch, how: _How) -> _Held:
        """As many batches as there is room for, at least this one."""
        shape, dtype, _, _ = how
        room = _BYTES_OF_A_BLOCK * blocks_at_once(self._rng.index.device)
        room -= sum(held.drawn.nbytes for held in self._held.values())
        taken = max(len(batch) * torch.Size(shape).numel() * dtype.itemsize, 1)
        copies = (batch.last - batch.first) * max(room // taken, 1)
        last = min(batch.first + copies, self._last)
        rng = replace(self._rng, key=batch.key).copies(batch.first, last)
        return _Held(batch.first, last, rng.fill(*how))
