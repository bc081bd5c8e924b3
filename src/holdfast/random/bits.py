"""Philox4x32-10 in integer operations of torch, or of NumPy on the same memory."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["MASK", "philox"]


MASK = 0xFFFFFFFF


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
        c0 &= MASK
        c2 &= MASK
        c1, low1 = low1, c1
        c3, low0 = low0, c3
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    c1 &= MASK
    c3 &= MASK
    return [c0, c1, c2, c3]
