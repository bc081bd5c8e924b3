"""Whether a model answers by what it was asked before: a cache, a query detector, a counter.

It takes many passes, and a chain that purifies is many of a denoiser: a model of which the code is
known, and keeps nothing, is not asked.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.auditing.fresh import fresh
from holdfast.evaluation.hidden.asking import answer, nearby, same, steady
from holdfast.random import Stream
from holdfast.types import Images, Model

#: Times that it is asked about nearly the same images, and how far these lie apart.
_TIMES = 24
_BESIDE = (0.001, 0.05)

_DEEPEST = 6  # nesting of containers that is looked into for what a model keeps

#: Attributes that torch gives every module.
_OF_TORCH = frozenset(vars(nn.Module()))

_PLAIN = (bool, int, float, str, torch.dtype, torch.device, type(None))


def memory_of(model: Model, x: Images, rng: Stream) -> str:
    """What a model does with what it was asked before, in words; "" if it does nothing.

    Args:
        model: is not asked itself, but by copies.
        x: a few images.
        rng: of the images beside them.
    """
    if _is_known(model):
        return ""
    asked, seed = fresh(model), rng.key % 2**31
    sizes = []
    for time in range(_TIMES):
        beside = nearby(x, rng.fold("memory", time), _BESIDE[time % len(_BESIDE)])
        then = answer(asked, beside, seed=seed)
        sizes.append(_kept(asked))
    changed = not same(then, answer(fresh(model), beside, seed=seed)).all()
    if changed and steady(model, beside, seed=seed):
        return "answers by what it was asked before"
    if all(before < after for before, after in itertools.pairwise(sizes)):
        return "keeps what it was asked"
    return ""


def _is_known(model: nn.Module) -> bool:
    """Whether it is made of torch's and Holdfast's layers alone, as they come, with plain data.

    At inference none of them answers by what it was asked before, or keeps it.
    """
    return all(
        _is_ours(type(layer))
        and _is_ours(type(layer).forward)
        and not (layer._forward_hooks or layer._forward_pre_hooks)
        and all(map(_is_plain, _own(layer).values()))
        for layer in model.modules()
    )


def _is_ours(code: Any) -> bool:
    return str(code.__module__).startswith(("torch.nn.modules.", "holdfast."))


def _is_plain(value: Any) -> bool:
    """Whether a value can neither do anything nor hold what does."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _own(layer: nn.Module) -> dict[str, Any]:
    """The attributes that torch does not give every module."""
    return {name: value for name, value in vars(layer).items() if name not in _OF_TORCH}


def _kept(model: nn.Module) -> int:
    """How many numbers and other things a model holds beside its weights."""
    held = 0
    for layer in model.modules():
        own = {name: value for name, value in vars(layer).items() if not name.startswith("_")}
        held += _size([*own.values(), *layer._buffers.values()])
        held += _size([value for name, value in vars(layer).items() if _is_private(name)])
    return held


def _is_private(name: str) -> bool:
    """Whether an attribute that begins with an underscore is the author's, none of torch's."""
    return name.startswith("_") and name not in _OF_TORCH


def _size(value: Any, depth: int = 0) -> int:
    if isinstance(value, Tensor):
        return value.numel()
    if depth > _DEEPEST:
        return 1
    if isinstance(value, Mapping):
        return 1 + sum(_size(part, depth + 1) for part in value.values())
    if isinstance(value, list | tuple | set | frozenset) or type(value).__name__ == "deque":
        return 1 + sum(_size(part, depth + 1) for part in value)
    return int(getattr(value, "size", 1)) if hasattr(value, "dtype") else 1
