"""``holdfast evaluate --dry-run``: what an evaluation would take, before it is begun."""

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from holdfast.attacks import Attack
from holdfast.cli.common import print_json, print_table, size
from holdfast.cli.passes import passes_of_attack
from holdfast.data import Data
from holdfast.tensors import device_of, eval_mode
from holdfast.types import Model

#: Bytes of a row of rows.csv, and as much again for its chunk until the run is complete.
_ROW = 2 * 250


class Planned(NamedTuple):
    """One attack at one size."""

    attack: str
    norm: str
    eps: float
    passes: int | None  # of all images together, at most; None if that cannot be told
    seconds: float | None  # at most


def planned(
    model: Model, data: Data, named: Sequence[tuple[str, Attack]], norm: str, batch_size: int
) -> list[Planned]:
    """The most that each attack can take on a model that calls for no variants of it."""
    each = seconds_of_a_pass(model, data, batch_size)
    lines = []
    for name, attack in named:
        passes = passes_of_attack(name, norm, attack.threat.eps, data.shape)
        total = None if passes is None else passes * len(data)
        seconds = None if total is None else total * each
        lines.append(Planned(name, attack.threat.name, attack.threat.eps, total, seconds))
    return lines


def seconds_of_a_pass(model: Model, data: Data, batch_size: int) -> float:
    """About how long a pass of one image takes, by a batch that goes forward and back."""
    x = data.x(next(data.batches(batch_size))).to(device_of(model))
    with eval_mode(model):
        _forward_and_back(model, x)  # the first one is slower
        began = time.perf_counter()
        _forward_and_back(model, x)
    return (time.perf_counter() - began) / (2 * len(x))


def _forward_and_back(model: Model, x: Tensor) -> None:
    x = x.clone().requires_grad_()
    total = model(x).sum()
    if total.requires_grad:
        torch.autograd.grad(total, x, allow_unused=True)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)


def show_plan(
    plan: Sequence[Planned],
    model: str,
    images: int,
    shape: tuple[int, ...],
    kept: int | None,
    *,
    json: bool,
) -> None:
    """Print it; ``kept`` images are saved for each attack, or nothing at all if it is None."""
    pixels = 4 * math.prod(shape)
    disk = 0 if kept is None else (len(plan) + 1) * images * _ROW
    disk += 0 if kept is None else len(plan) * min(kept, images) * 3 * pixels
    if json:
        lines: list[dict[str, Any]] = [
            {**one._asdict(), "eps": None if math.isinf(one.eps) else one.eps} for one in plan
        ]
        print_json({"images": images, "attacks": lines, "disk_bytes": disk})
        return
    known = [one.seconds for one in plan if one.seconds is not None]
    print_table(
        f"{model} on {images} images: the most that each attack can take, without the variants "
        "that a defence calls for; an image that falls takes less",
        [
            {
                "attack": one.attack,
                "size": f"{one.norm} {size(one.eps)}",
                "passes": "?" if one.passes is None else f"{one.passes:,}",
                "time": "?" if one.seconds is None else _duration(one.seconds),
            }
            for one in plan
        ],
    )
    print(f"all together at most {_duration(sum(known))}; on disk about {disk / 1e6:.1f} MB")


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
