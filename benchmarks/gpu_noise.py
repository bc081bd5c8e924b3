"""Normal draws keyed as `holdfast.random.Stream` keys them, by one kernel of Triton's on a GPU.

There `Stream.normal` is about 130 kernels of torch's, each over in less time than it takes to begin
it where images are small. speed_gpu.py measures what sampling would take with this in its place.
"""

import math
from collections.abc import Sequence

import torch
import triton
from torch import Tensor
from triton import language as tl
from triton.language.extra import libdevice

from holdfast.random import Stream

#: Blocks of four draws that one program of the kernel makes.
_TOGETHER = 256


@triton.jit(do_not_specialize=["key"])
def _normals(out, index, copy, key, blocks, together: tl.constexpr):
    """Each program makes the four draws of some blocks of one example."""
    tiles = tl.cdiv(blocks, together)
    example = tl.program_id(0) // tiles
    block = (tl.program_id(0) % tiles) * together + tl.arange(0, together)
    number = tl.load(index + example)
    same = block * 0  # what is the same in all blocks, once for each
    first, second, third, fourth = tl.philox(
        key,
        block.to(tl.uint32),
        (same + tl.load(copy + example)).to(tl.uint32),
        (same + number).to(tl.uint32),
        (same + (number >> 32)).to(tl.uint32),
    )
    place = out + (example.to(tl.int64) * blocks + block) * 4
    within = block < blocks
    _polar(place, first, second, within)
    _polar(place + 2, third, fourth, within)


@triton.jit
def _polar(place, one, other, within):
    """Two normals of two words, rounded at each step as `holdfast.random` rounds."""
    radius = libdevice.sqrt(
        -2.0 * libdevice.log((one.to(tl.float32) + 1.0) * 2.3283064365386963e-10)
    )
    angle = other.to(tl.float32) * 1.4629180792671596e-09
    tl.store(place, radius * libdevice.cos(angle), mask=within)
    tl.store(place + 1, radius * libdevice.sin(angle), mask=within)


def normal(stream: Stream, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """What `Stream.normal` gives, in float32 or narrower."""
    size = math.prod(shape)
    blocks = -(-size // 4)
    out = torch.empty((len(stream), blocks, 4), device=stream.index.device)
    key = stream.key - (stream.key >> 63 << 64)  # as a signed number
    grid = (len(stream) * triton.cdiv(blocks, _TOGETHER),)
    _normals[grid](out, stream.index, stream.copy, key, blocks, _TOGETHER)
    return out.flatten(1)[:, :size].reshape(len(stream), *shape).to(dtype)
