"""``holdfast evaluate --dry-run``: what an evaluation would take, before it is begun."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.attacks import Attack
from holdfast.cli.common import print_json, print_table, size
from holdfast.cli.passes import passes_of_attack
from holdfast.data import Data
from holdfast.tensors import device_of, eval_mode
from holdfast.types import Images, Model

#: Bytes of a row of rows.csv, and as much again for its chunk until the run is complete.
_ROW = 2 * 250


class Planned(NamedTuple):
    """One attack at one size on one model."""

    model: str
    attack: str
    norm: str
    eps: float
    passes: int | None  # of all images and seeds together, at most; None if that cannot be told
    seconds: float | None  # at most


@dataclass(frozen=True)
class Plan:
    """What an evaluation of one or several models would take.

    Attributes:
        lines: a line for each attack at each size on each model.
        images: how many.
        memory: bytes that a batch takes at least, forward and back through the largest model.
        disk: bytes.
    """

    lines: Sequence[Planned]
    images: int
    memory: int
    disk: int


def planned(
    models: Mapping[str, Model],
    data: Data,
    named: Sequence[tuple[str, Attack]],
    norm: str,
    batch_size: int,
    *,
    seeds: int = 1,
    kept: int | None = None,
) -> Plan:
    """The most that each attack can take on models that call for no variants of it.

    Args:
        models: by name.
        data: the test set.
        named: the attacks.
        norm: of their balls.
        batch_size: images attacked at once.
        seeds: how often everything is repeated.
        kept: images that are saved for each attack; None if nothing at all is.
    """
    lines, memory = [], 0
    for name, model in models.items():
        tried = _tried(model, data, batch_size)
        memory = max(memory, tried.bytes)
        for spec, attack in named:
            eps = attack.threat.eps
            passes = passes_of_attack(spec, norm, eps, data.shape)
            total = None if passes is None else passes * len(data) * seeds
            seconds = None if total is None else total * tried.seconds
            lines.append(Planned(name, spec, attack.threat.name, eps, total, seconds))
    disk = 0
    if kept is not None:
        rows = (len(lines) + len(models)) * len(data) * _ROW
        pictures = len(lines) * min(kept, len(data)) * 3 * 4 * math.prod(data.shape)
        disk = seeds * (rows + pictures)
    return Plan(lines, len(data), memory, disk)


class _Tried(NamedTuple):
    """What one batch took, forward and back."""

    seconds: float  # for one pass of one image
    bytes: int  # of the network, the images and what the way back needs


def _tried(model: Model, data: Data, batch_size: int) -> _Tried:
    x = data.x(next(data.batches(batch_size))).to(device_of(model))
    held: dict[int, int] = {}

    def hold(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with eval_mode(model):
        for tensor in (*model.parameters(), *model.buffers(), x):
            hold(tensor.detach())
        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            _forward_and_back(model, x)  # the first one is slower
        began = time.perf_counter()
        _forward_and_back(model, x)
        seconds = (time.perf_counter() - began) / (2 * len(x))
    return _Tried(seconds, sum(held.values()) + 2 * x.nbytes)  # with a copy, and its gradient


def _forward_and_back(model: Model, x: Images) -> None:
    x = x.clone().requires_grad_()
    total = model(x).sum()
    if total.requires_grad:
        torch.autograd.grad(total, x, allow_unused=True)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)


def show_plan(plan: Plan, *, json: bool) -> None:
    """Print it."""
    if json:
        lines = [
            {**one._asdict(), "eps": None if math.isinf(one.eps) else one.eps} for one in plan.lines
        ]
        about = {"images": plan.images, "attacks": lines}
        print_json({**about, "memory_bytes": plan.memory, "disk_bytes": plan.disk})
        return
    models = dict.fromkeys(one.model for one in plan.lines)
    known = [one.seconds for one in plan.lines if one.seconds is not None]
    print_table(
        f"{', '.join(models)} on {plan.images} images: the most that each attack can take, without "
        "the variants that a defence calls for; an image that falls takes less",
        [
            {
                **({"model": one.model} if len(models) > 1 else {}),
                "attack": one.attack,
                "size": f"{one.norm} {size(one.eps)}",
                "passes": "?" if one.passes is None else f"{one.passes:,}",
                "time": "?" if one.seconds is None else _duration(one.seconds),
            }
            for one in plan.lines
        ],
    )
    print(
        f"all together at most {_duration(sum(known))}; a batch takes at least "
        f"{plan.memory / 1e6:.1f} MB of memory; on disk about {plan.disk / 1e6:.1f} MB"
    )


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
