"""Keyed random streams: what a draw is a function of, and what is made of its bits."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from statistics import NormalDist
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from holdfast.random.bits import MASK, philox

__all__ = ["Stream", "Transform", "blocks_at_once", "hash_seed"]


#: Writes numbers made of four words into a tensor (n, blocks, numbers of a block).
Transform: TypeAlias = Callable[[list[Tensor], Tensor], None]


#: Keeps the integer temporaries within a processor's cache.
_BLOCKS_AT_ONCE = 1 << 17


#: Elsewhere each operation shall last longer than it takes to begin it.
_BLOCKS_ELSEWHERE = 1 << 20


#: The medians of 256 equally likely pieces of the normal distribution.
_LEVELS = torch.tensor([NormalDist().inv_cdf((k + 0.5) / 256) for k in range(256)])


@dataclass(frozen=True, eq=False)
class Stream:
    """Random numbers for N examples.

    Attributes:
        key: 64 bits that stand for the seed and the purpose.
        index: (N,) identity of each example, such as its place in the test set; int64.
        copy: (N,) number of the copy where one example appears several times; int64.

    Example:
        >>> from holdfast.random import Stream
        >>> rng = Stream.of(0, torch.tensor([5, 17]))
        >>> both = rng.fold("noise").normal((3,))  # (N, 3)
        >>> alone = Stream.of(0, torch.tensor([17])).fold("noise").normal((3,))
        >>> bool((both[1:] == alone).all())
        True
    """

    key: int
    index: Int[Tensor, " n"]
    copy: Int[Tensor, " n"]

    @classmethod
    def of(cls, seed: int, index: Int[Tensor, " n"]) -> "Stream":
        """The stream of a ``seed`` for the examples ``index``."""
        index = index.long()
        return cls(key=hash_seed(seed), index=index, copy=torch.zeros_like(index))

    def __len__(self) -> int:
        return len(self.index)

    def fold(self, *purpose: str | int) -> "Stream":
        """An independent stream for another ``purpose``; give a step's number to vary by step."""
        return Stream(hash_seed(self.key, *purpose), self.index, self.copy)

    def take(self, position: Tensor) -> "Stream":
        """The streams of the examples at ``position``, an index or a mask."""
        return Stream(self.key, self.index[position], self.copy[position])

    def copies(self, start: int, stop: int) -> "Stream":
        """Copies ``start`` to ``stop - 1`` of every example, copy after copy: (N · count)."""
        numbers = torch.arange(start, stop, device=self.index.device)
        return Stream(
            self.key, self.index.repeat(len(numbers)), numbers.repeat_interleave(len(self))
        )

    def apart(self) -> "Stream":
        """Every copy an example of its own, which can be copied again; for indices below 2^32."""
        return Stream(self.key, self.index + (self.copy << 32), torch.zeros_like(self.copy))

    def normal(
        self, shape: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "n ..."]:
        """Standard normal draws of ``shape`` for each example, by Box and Muller."""
        return self._draw(shape, dtype, _polar, lanes=4)

    def uniform(
        self, shape: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "n ..."]:
        """Uniform draws in [0, 1) of ``shape`` for each example; half precision may round to 1."""
        return self._draw(shape, dtype, _fractions, lanes=4)

    def rough_normal(
        self, shape: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "n ..."]:
        """Standard normal draws rounded to 256 values, in a third of the time.

        For directions to try; not where the distribution is counted on, as by a certificate.
        """
        return self._draw(shape, dtype, _levels, lanes=16)

    def bits(self, shape: Sequence[int]) -> Int[Tensor, "n ..."]:
        """Whole numbers of ``shape`` for each example, of 62 tosses of a coin, in [0, 2^62)."""
        return self.fill(shape, torch.int64, 2, _tosses)

    def _draw(
        self, shape: Sequence[int], dtype: torch.dtype, transform: Transform, lanes: int
    ) -> Tensor:
        work = torch.float64 if dtype == torch.float64 else torch.float32
        return self.fill(shape, work, lanes, transform).to(dtype)

    def fill(
        self, shape: Sequence[int], dtype: torch.dtype, lanes: int, transform: Transform
    ) -> Tensor:
        """(N, *shape), so many numbers of each block of four words: what every draw is made by."""
        size = math.prod(shape)
        blocks = -(-size // lanes)
        out = torch.empty((len(self), blocks, lanes), dtype=dtype, device=self.index.device)
        rows = max(1, blocks_at_once(out.device) // max(blocks, 1))
        for start in range(0, len(self), rows):
            part = slice(start, start + rows)
            transform(self._words(part, blocks), out[part])
        return out.flatten(1)[:, :size].reshape(len(self), *shape)

    def _words(self, part: slice, blocks: int) -> list[Tensor]:
        """Four 32-bit words (n, blocks) each: the counter is (block, copy, example low, high)."""
        index, copy = self.index[part, None], self.copy[part, None]
        block = torch.arange(blocks, device=index.device)
        counter = [
            word.expand(len(index), blocks).clone()
            for word in (block, copy & MASK, index & MASK, index >> 32 & MASK)
        ]
        return philox(counter, (self.key & MASK, self.key >> 32))


def blocks_at_once(device: torch.device) -> int:
    """How many blocks of four words one step of a draw makes.

    Example:
        >>> from holdfast.random import blocks_at_once
        >>> blocks_at_once(torch.device("cpu")) < blocks_at_once(torch.device("cuda"))
        True
    """
    return _BLOCKS_AT_ONCE if device.type == "cpu" else _BLOCKS_ELSEWHERE


def _polar(words: list[Tensor], out: Tensor) -> None:
    """Write the normals of four words into ``out`` (n, blocks, 4)."""
    for lane in (0, 2):
        # (w + 1) / 2^32 lies in (0, 1], so the logarithm is finite.
        radius = words[lane].to(out.dtype).add_(1).mul_(2.0**-32).log_().mul_(-2).sqrt_()
        angle = words[lane + 1].to(out.dtype).mul_(2.0**-32 * 2 * math.pi)
        torch.mul(radius, angle.cos(), out=out[..., lane])
        torch.mul(radius, angle.sin_(), out=out[..., lane + 1])


def _fractions(words: list[Tensor], out: Tensor) -> None:
    """Write four words over 2^32 into ``out``."""
    for lane, word in enumerate(words):
        # 24 bits are exact in float32, so that rounding never reaches 1.
        out[..., lane] = word >> 8 << 8
    out.mul_(2.0**-32)


def _levels(words: list[Tensor], out: Tensor) -> None:
    """Write a level for each of the 16 bytes of four words into ``out``."""
    octets = torch.stack(words, dim=-1).to(torch.int32).view(torch.uint8)
    level = _LEVELS.to(out).index_select(0, octets.flatten().int())
    out.copy_(level.view_as(octets))


def _tosses(words: list[Tensor], out: Tensor) -> None:
    """Write two numbers of 62 bits into ``out``, each 31 of two words: int64 has a sign."""
    for lane, (high, low) in enumerate((words[:2], words[2:])):
        out[..., lane] = high >> 1 << 31 | low >> 1


def hash_seed(seed: int, *purpose: str | int) -> int:
    """64 bits that stand for a seed and a purpose.

    Example:
        >>> from holdfast.random import hash_seed
        >>> hash_seed(0, "noise", 1) == hash_seed(0, "noise", 1)
        True
        >>> hash_seed(0, 1) == hash_seed(0, "1")
        False
    """
    labels = [label if isinstance(label, str) else int(label) for label in (seed, *purpose)]
    text = "/".join(f"{type(label).__name__}:{label}" for label in labels)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
