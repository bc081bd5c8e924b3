"""How many images at once where nobody says: as many as free memory holds, and as bring anything.

Rows do not depend on it. A run's chunks do not either, so that another machine may choose for
itself what one machine has begun.
"""

import gc
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.memory import AtOnce, out_of_memory
from holdfast.tensors import device_of
from holdfast.types import Images, Model

__all__ = [
    "BatchSize",
    "at_once",
    "check_batch_size",
    "first_batch",
    "free_memory",
    "in_a_chunk",
    "that_fits",
]

#: Images at once, or "auto" for as many as memory holds.
BatchSize: TypeAlias = int | Literal["auto"]

#: On a CPU more images at once bring nothing, their tensors leave its caches: see
#: docs/results/speed.md.
_MOST_ON_CPU = 128

#: Elsewhere, and in a chunk: an interrupted run loses no more of an attack.
_MOST = 512

#: What looks at the first images looks at so many, whatever memory holds.
_FIRST = 128

#: Images of the pass that is measured.
_MEASURED = 8

#: Of free memory, so much is used: an attack holds more than one pass, and others want some too.
_SHARE = 0.5

#: What a machine has, and what a container is allowed of it, which the machine does not tell.
_LIMIT, _USED = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))


def check_batch_size(batch_size: BatchSize) -> None:
    """See that images are worked on by one or more at once.

    Raises:
        InputError: if not.

    Example:
        >>> from holdfast.batch_size import check_batch_size
        >>> check_batch_size("auto")
        >>> check_batch_size(0)
        Traceback (most recent call last):
        holdfast.errors.InputError: batch_size is 0, but must be at least 1, or "auto".
    """
    if batch_size != "auto" and batch_size < 1:
        raise InputError(f'batch_size is {batch_size}, but must be at least 1, or "auto".')


def in_a_chunk(batch_size: BatchSize) -> int:
    """Images in a chunk of a run: as many as at once, or a number that is every machine's.

    Example:
        >>> from holdfast.batch_size import in_a_chunk
        >>> in_a_chunk(64), in_a_chunk("auto")
        (64, 512)
    """
    return _MOST if batch_size == "auto" else batch_size


def first_batch(batch_size: BatchSize) -> int:
    """Images that are looked at before a run begins; a number that is every machine's too.

    Example:
        >>> from holdfast.batch_size import first_batch
        >>> first_batch(64), first_batch("auto")
        (64, 128)
    """
    return _FIRST if batch_size == "auto" else batch_size


def at_once(
    batch_size: BatchSize,
    models: Sequence[Model],
    data: Data,
    *,
    most: int | None = None,
    gradient: bool = True,
) -> AtOnce:
    """So many images at once, halved where memory runs out; "auto" is chosen where it is needed.

    Args:
        batch_size: what was asked for.
        models: that are to work, each on its own device.
        data: on which.
        most: there are no more; None where there are enough.
        gradient: see `that_fits`.

    Example:
        >>> from holdfast.batch_size import at_once
        >>> from holdfast.data import Data
        >>> at_once("auto", [model], Data.of(x, y)).size
        128
    """
    if batch_size == "auto":
        return AtOnce(partial(_least_that_fits, models, data, most or _MOST, gradient))
    return AtOnce(min(batch_size, most or batch_size))


def _least_that_fits(models: Sequence[Model], data: Data, most: int, gradient: bool) -> int:
    x = data.x(torch.arange(min(_MEASURED, len(data))))
    return min(most, *(that_fits(one, x.to(device_of(one)), gradient=gradient) for one in models))


def that_fits(model: Model, x: Images, *, gradient: bool = True) -> int:
    """How many images at once: as many as half of free memory holds, by one pass of a few.

    On a GPU what the pass takes is measured. On a CPU it is what the way back needs, to which all
    layers add; of a model without a way back nothing is known, and the most are taken. A pass that
    fails says nothing here: whoever asks the model next says what is wrong.

    Args:
        model: in evaluation mode, on the device that is to do the work.
        x: (N, C, H, W) a few images.
        gradient: whether passes go back too.

    Returns:
        A power of two, at most 128 on a CPU and 512 elsewhere.

    Example:
        >>> from holdfast.batch_size import that_fits
        >>> that_fits(model, x)
        128
    """
    most = _MOST_ON_CPU if x.device.type == "cpu" else _MOST
    free = free_memory(x.device)
    each = _bytes_of_an_image(model, x[:_MEASURED], gradient)
    if free is None or not each:
        return most
    fit = max(1, int(_SHARE * free) // each)
    return min(most, 1 << (fit.bit_length() - 1))


def free_memory(device: torch.device) -> int | None:
    """Bytes that a device has free; None where nothing tells.

    On a CPU also no more than a container may still take.

    Example:
        >>> from holdfast.batch_size import free_memory
        >>> free = free_memory(torch.device("cpu"))
        >>> free is None or free > 0
        True
    """
    if device.type == "cuda":
        # What torch holds in reserve is free as well, and counted as taken by the driver.
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserve
    if device.type != "cpu":
        return None
    told = []
    with suppress(AttributeError, ValueError, OSError):  # not every system has these names
        told.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ValueError, OSError):  # "max" where there is no limit
        told.append(max(0, int(_LIMIT.read_text()) - int(_USED.read_text())))
    return min(told, default=None)


def _bytes_of_an_image(model: Model, x: Images, gradient: bool) -> int:
    """What a pass takes for each image; 0 where it is not known."""
    on_gpu = x.device.type == "cuda"
    before = 0
    if on_gpu:
        gc.collect()
        torch.cuda.reset_peak_memory_stats(x.device)
        before = torch.cuda.memory_allocated(x.device)
    kept = _Kept([*model.parameters(), *model.buffers()])
    try:
        with (
            torch.set_grad_enabled(gradient or not on_gpu),
            torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda tensor: tensor),
        ):
            given = x.detach().clone().requires_grad_(torch.is_grad_enabled())
            logits = model(given)
            if on_gpu and isinstance(logits, Tensor) and logits.requires_grad:
                torch.autograd.grad(logits.sum(), given, allow_unused=True)
    except Exception as error:
        return 2**62 if out_of_memory(error) else 0
    taken = torch.cuda.max_memory_allocated(x.device) - before if on_gpu else kept.bytes
    return -(-taken // len(x))


class _Kept:
    """Counts the bytes that autograd keeps, each storage once, and none of the model's own."""

    def __init__(self, own: list[Tensor]) -> None:
        self.bytes = 0
        self._seen = {tensor.untyped_storage().data_ptr() for tensor in own}

    def keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor
