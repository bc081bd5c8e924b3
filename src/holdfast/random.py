"""Keyed random streams: every draw is a function of (seed, purpose, example, copy), nothing else.

A `Stream` holds no state. Whatever the batch size, the order, the number of devices, or the point
at which a killed run resumes, example 17 gets the same draws for the same purpose. The generator is
Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), written in
torch integer operations, so that CPU and GPU give the same bits; it is checked against the
authors' published vectors in the tests. `benchmarks/randomness.py` compares it with one
`torch.Generator` per example.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = [
    "Stream",
    "Transform",
    "active_stream",
    "blocks_at_once",
    "drawing_from",
    "hash_seed",
    "kept_global_generators",
    "layer_noise",
    "layer_stream",
    "layer_uniform",
    "own_global_generator",
    "philox",
    "seed_every_generator",
    "seed_global_generators",
]

_MASK = 0xFFFFFFFF

#: Writes numbers made of four words into a tensor (n, blocks, numbers of a block).
Transform: TypeAlias = Callable[[list[Tensor], Tensor], None]

#: Keeps the integer temporaries within a processor's cache.
_BLOCKS_AT_ONCE = 1 << 17

#: Elsewhere each operation shall last longer than it takes to begin it.
_BLOCKS_ELSEWHERE = 1 << 20


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
        return self._draw(shape, dtype, _polar)

    def uniform(
        self, shape: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "n ..."]:
        """Uniform draws in [0, 1) of ``shape`` for each example; half precision may round to 1."""
        return self._draw(shape, dtype, _fractions)

    def bits(self, shape: Sequence[int]) -> Int[Tensor, "n ..."]:
        """Whole numbers of ``shape`` for each example, of 62 tosses of a coin, in [0, 2^62)."""
        return self.fill(shape, torch.int64, 2, _tosses)

    def _draw(self, shape: Sequence[int], dtype: torch.dtype, transform: Transform) -> Tensor:
        work = torch.float64 if dtype == torch.float64 else torch.float32
        return self.fill(shape, work, 4, transform).to(dtype)

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
            for word in (block, copy & _MASK, index & _MASK, index >> 32 & _MASK)
        ]
        return philox(counter, (self.key & _MASK, self.key >> 32))


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
    text = "/".join(f"{type(label).__name__}:{label}" for label in (seed, *purpose))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def philox(counter: list[Tensor], key: tuple[int, int], rounds: int = 10) -> list[Tensor]:
    """Philox4x32 on int64 tensors that hold 32-bit words; overwrites ``counter``.

    Args:
        counter: four tensors of one shape, each entry in [0, 2^32).
        key: two 32-bit words.
        rounds: 10 in the published generator.

    Returns:
        Four tensors of random 32-bit words.

    Reference:
        Salmon et al. 2011, section 4.3.

    Example:
        >>> from holdfast.random import philox
        >>> words = philox([torch.zeros(1, dtype=torch.int64) for _ in range(4)], (0, 0))
        >>> [hex(int(word)) for word in words]  # as published
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    if counter[0].device.type != "cpu":
        return _rounds(counter, key, rounds, torch, torch.bitwise_right_shift)
    # On the same memory NumPy begins an operation in a third of torch's time, and there are 100.
    words = _rounds([word.numpy() for word in counter], key, rounds, np, np.right_shift)
    return [torch.from_numpy(word) for word in words]


def _rounds(
    counter: list[Any],
    key: tuple[int, int],
    rounds: int,
    library: ModuleType,
    shift_right: Callable[..., Any],
) -> list[Any]:
    """The rounds of Philox on int64 of torch or of NumPy, which differ in the name of a shift."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    low0, low1 = library.empty_like(c0), library.empty_like(c0)
    for _ in range(rounds):
        # The product wraps around at 64 bits with the right bits in it; the shift of a negative
        # number drags its sign along, which the mask removes, and the low words are masked last.
        library.multiply(c0, 0xD2511F53, out=low0)
        library.multiply(c2, 0xCD9E8D57, out=low1)
        shift_right(low1, 32, out=c0)
        c0 ^= c1
        c0 ^= k0
        shift_right(low0, 32, out=c2)
        c2 ^= c3
        c2 ^= k1
        c0 &= _MASK
        c2 &= _MASK
        c1, low1 = low1, c1
        c3, low0 = low0, c3
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    c1 &= _MASK
    c3 &= _MASK
    return [c0, c1, c2, c3]


class _Draws:
    """Hands each stochastic layer of one forward pass its own stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._served = 0

    def next(self) -> Stream:
        self._served += 1
        return self.stream.fold("layer", self._served)


_active: ContextVar[_Draws | None] = ContextVar("holdfast_draws", default=None)


class drawing_from:  # noqa: N801, read as what it does, as other context managers are
    """Make ``stream`` the randomness of the model's own layers, for one forward pass.

    A forward pass takes images and nothing else, so this is how a seed reaches a layer inside it.

    Example:
        >>> from holdfast.defenses import GaussianNoise
        >>> from holdfast.random import Stream, drawing_from
        >>> layer, rng = GaussianNoise(0.1), Stream.of(0, torch.arange(4))
        >>> with drawing_from(rng):
        ...     once = layer(x)
        >>> with drawing_from(rng):
        ...     again = layer(x)
        >>> bool((once == again).all())
        True
    """

    def __init__(self, stream: Stream) -> None:
        self._draws = _Draws(stream)

    def __enter__(self) -> None:
        self._token = _active.set(self._draws)

    def __exit__(self, *error: object) -> None:
        _active.reset(self._token)


def active_stream(count: int) -> Stream | None:
    """The stream that keys the forward pass under way, if it is one for ``count`` examples.

    Example:
        >>> from holdfast.random import active_stream
        >>> active_stream(4) is None  # no forward pass is under way
        True
    """
    draws = _active.get()
    return draws.stream if draws is not None and len(draws.stream) == count else None


def layer_noise(x: Float[Tensor, "n *image"]) -> Float[Tensor, "n *image"]:
    """Standard normal noise for a layer whose input is ``x``.

    Keyed by example within `drawing_from`, where every attack, evaluation and certificate runs;
    from torch's global generator elsewhere, as `torch.nn.Dropout` draws.

    Example:
        >>> from holdfast.random import Stream, drawing_from, layer_noise
        >>> with drawing_from(Stream.of(0, torch.arange(4))):
        ...     noise = layer_noise(x)
        >>> noise.shape
        torch.Size([4, 1, 8, 8])
    """
    stream = layer_stream(len(x))
    return torch.randn_like(x) if stream is None else stream.normal(x.shape[1:], x.dtype)


def layer_uniform(x: Float[Tensor, "n *image"]) -> Float[Tensor, "n *image"]:
    """The same, uniform in [0, 1).

    Example:
        >>> from holdfast.random import Stream, drawing_from, layer_uniform
        >>> with drawing_from(Stream.of(0, torch.arange(4))):
        ...     draw = layer_uniform(x)
        >>> bool(((draw >= 0) & (draw < 1)).all())
        True
    """
    stream = layer_stream(len(x))
    return torch.rand_like(x) if stream is None else stream.uniform(x.shape[1:], x.dtype)


def layer_stream(count: int) -> Stream | None:
    """The stream of the next stochastic layer of the forward pass under way, if there is one.

    Example:
        >>> from holdfast.random import Stream, drawing_from, layer_stream
        >>> with drawing_from(Stream.of(0, torch.arange(4))):
        ...     first, second = layer_stream(4), layer_stream(4)
        >>> first.key == second.key  # each layer has its own
        False
    """
    draws = _active.get()
    return None if draws is None or len(draws.stream) != count else draws.next()


@contextmanager
def own_global_generator(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators for the block and put them back afterwards.

    For models that draw from them without declaring it, such as dropout left in training mode, or
    the preprocessing of a stranger: torch's, Python's `random` and NumPy's.

    Example:
        >>> from holdfast.random import own_global_generator
        >>> with own_global_generator(0, torch.device("cpu")):
        ...     once = torch.rand(3)
        >>> with own_global_generator(0, torch.device("cpu")):
        ...     again = torch.rand(3)
        >>> bool((once == again).all())
        True
    """
    with kept_global_generators(device):
        seed_every_generator(seed, device)
        yield


@contextmanager
def kept_global_generators(device: torch.device) -> Iterator[None]:
    """Put the global generators back after the block; NumPy's take longer than seeding them.

    Example:
        >>> from holdfast.random import kept_global_generators
        >>> with kept_global_generators(torch.device("cpu")):
        ...     inside = torch.rand(3)
        >>> bool((torch.rand(3) == inside).all())  # as if nothing had been drawn
        True
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def seed_every_generator(seed: int, device: torch.device) -> None:
    """Seed all that a model may draw from: `seed_global_generators`, and Python's and NumPy's.

    Example:
        >>> import random
        >>> from holdfast.random import kept_global_generators, seed_every_generator
        >>> cpu, drawn = torch.device("cpu"), []
        >>> with kept_global_generators(cpu):
        ...     for _ in range(2):
        ...         seed_every_generator(0, cpu)
        ...         drawn.append(random.random())
        >>> drawn[0] == drawn[1]
        True
    """
    seed_global_generators(seed, device)
    random.seed(seed)
    np.random.seed(hash_seed(seed) & _MASK)  # noqa: NPY002, it takes 32 bits


def seed_global_generators(seed: int, device: torch.device) -> None:
    """Seed torch's generators that a computation on ``device`` may draw from.

    `torch.manual_seed` would do, but it also reaches for every GPU, and formats a stack trace each
    time while none is in use: more than a small network's forward pass takes.

    Example:
        >>> from holdfast.random import kept_global_generators, seed_global_generators
        >>> own, cpu = torch.Generator().manual_seed(0), torch.device("cpu")
        >>> with kept_global_generators(cpu):
        ...     seed_global_generators(0, cpu)
        ...     float(torch.rand(1)) == float(torch.rand(1, generator=own))
        True
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
