"""The examples of each step, in an order that is a function of (seed, epoch)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from typing import NamedTuple

import torch

from holdfast import lightning
from holdfast.data import Data
from holdfast.parameters import Seed
from holdfast.processes import Part, parts_of
from holdfast.random import hash_seed
from holdfast.types import Images, Labels


class Load(NamedTuple):
    """What one process gets of a step's batch."""

    examples: int  # in the whole batch, over all processes
    parts: list[tuple[Part, Images, Labels]]


class Batches:
    """Reads the parts of each step; with a GPU one step ahead, while that one computes.

    Args:
        data: what to train on.
        batch_size: examples in a step.
        accumulate: parts of a process in a step.
        seed: of the order.
        fabric: the processes.
    """

    def __init__(
        self,
        data: Data,
        batch_size: int,
        accumulate: int,
        seed: Seed,
        fabric: "lightning.Fabric",
    ) -> None:
        self._data, self._batch_size, self._accumulate = data, batch_size, accumulate
        self._seed, self._fabric = seed, fabric
        self.steps = -(-len(data) // batch_size)  # in an epoch

    @contextmanager
    def loads(self, start: int) -> Iterator[Iterator[Load]]:
        """The loads from step ``start`` on, without end."""
        if self._fabric.device.type == "cpu":
            yield map(self._read, count(start))
            return
        with ThreadPoolExecutor(max_workers=1) as reader:
            yield self._ahead(start, reader)

    def _ahead(self, start: int, reader: ThreadPoolExecutor) -> Iterator[Load]:
        coming = reader.submit(self._read, start)
        for step in count(start + 1):
            load = coming.result()
            coming = reader.submit(self._read, step)
            yield load

    def _read(self, step: int) -> Load:
        epoch, place = divmod(step, self.steps)
        batch = order(self._seed, epoch, len(self._data))[place * self._batch_size :]
        batch = batch[: self._batch_size]
        parts = []
        world, rank = self._fabric.world_size, self._fabric.global_rank
        for part in parts_of(batch, self._accumulate, world, rank):
            x, y = self._data.x(part.examples), self._data.y[part.examples]
            if self._fabric.device.type == "cuda":  # of memory that is not pinned each copy waits
                part = part._replace(examples=part.examples.pin_memory())
                x, y = x.pin_memory(), y.pin_memory()
            parts.append((part, x, y))
        return Load(len(batch), parts)


@lru_cache(maxsize=2)
def order(seed: Seed, epoch: int, size: int) -> torch.Tensor:
    """The order of the examples in an epoch."""
    generator = torch.Generator().manual_seed(hash_seed(seed, "order", epoch))
    return torch.randperm(size, generator=generator)
