"""The global generators, for models that draw from them without declaring it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from holdfast.random.bits import MASK
from holdfast.random.stream import hash_seed

__all__ = [
    "kept_global_generators",
    "own_global_generator",
    "seed_every_generator",
    "seed_global_generators",
]


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
    np.random.seed(hash_seed(seed) & MASK)  # noqa: NPY002, it takes 32 bits


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
