"""Keyed random streams: the same draws on every device."""

from collections.abc import Iterator

import torch

from tests.device.pair import Pair, agree
from tests.device.parts import Part
from tests.device.subjects import Stream

# Logarithm, sine and cosine of a device may each be off by some units in the last place, at a
# radius of up to 6.7; a half-precision draw may be rounded to the other neighbour besides.
NORMAL = {
    torch.float64: 1e-13,
    torch.float32: 1e-5,
    torch.float16: 8 * torch.finfo(torch.float16).eps,
    torch.bfloat16: 8 * torch.finfo(torch.bfloat16).eps,
}


def parts(pair: Pair) -> Iterator[Part]:
    for dtype in NORMAL:
        name = str(dtype).removeprefix("torch.")
        yield Part(f"sampling/uniform {name}", lambda d=dtype: _uniform(pair, d), quick=True)
        yield Part(f"sampling/normal {name}", lambda d=dtype: _normal(pair, d), quick=True)


def _streams(pair: Pair) -> tuple[Stream, Stream]:
    """Copies of examples, also beyond 2^32 after `apart`, in another order and purpose."""
    index = torch.tensor([0, 3, 17, 59_999, 2**32 - 1])
    order = torch.tensor([4, 0, 9, 7, 2])

    def made(where: torch.device) -> Stream:
        stream = Stream.of(7, index.to(where)).fold("device", 3).copies(5, 8)
        return stream.take(order.to(where)).apart().copies(0, 2)

    return made(torch.device("cpu")), made(pair.device)


def _uniform(pair: Pair, dtype: torch.dtype) -> str:
    """Bit for bit: integers, and one exact product."""
    here, there = (stream.uniform((3, 40, 41), dtype) for stream in _streams(pair))
    return agree(here, there, 0.0)


def _normal(pair: Pair, dtype: torch.dtype) -> str:
    here, there = (stream.normal((3, 40, 41), dtype) for stream in _streams(pair))
    return agree(here, there, NORMAL[dtype])
