"""``holdfast evaluate --dry-run``: what an evaluation would take, before it is begun."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.attacks import Attack, variants_of
from holdfast.batch_size import first_batch
from holdfast.cli.common import print_json, print_table, size
from holdfast.counting import Counted
from holdfast.data import Data
from holdfast.errors import HoldfastError
from holdfast.evaluation.adapting import hidden_in, twin_of
from holdfast.evaluation.config import EvaluationConfig
from holdfast.evaluation.forecast import Passes, passes_of
from holdfast.evaluation.hidden.tally import Tally
from holdfast.evaluation.probe import probe
from holdfast.progress import Progress, silent
from holdfast.tensors import device_of, eval_mode
from holdfast.types import Flags, Images, Model, Step

#: Bytes of a row of rows.csv, and as much again for its chunk until the run is complete.
_ROW = 2 * 250

#: Images on which an attack that stops early is begun, and passes of each after which it is left.
_TRIED = 8
_LEFT_AFTER = 100


class Planned(NamedTuple):
    """One attack at one size on one model."""

    model: str
    attack: str
    norm: str
    eps: float
    passes: int | None  # of all images and seeds together; at most, unless exact; None if unknown
    exact: bool
    expected: int | None  # about, by some images of the first batch; passes themselves if exact
    seconds: float | None  # of as many passes, by the timed batch
    expected_seconds: float | None


@dataclass(frozen=True)
class Plan:
    """What an evaluation of one or several models would take.

    Attributes:
        lines: a line for each attack at each size on each model.
        images: how many.
        memory: bytes that a batch takes at least, forward and back through the largest model.
        disk: bytes.
        audit: share of the attacks' passes that their audit takes at most.
        search: passes that looking for what a model hides took, and will take again.
        remarks: what is not in these numbers, in sentences.
    """

    lines: Sequence[Planned]
    images: int
    memory: int
    disk: int
    audit: float
    search: int
    remarks: Sequence[str] = field(default_factory=list)


def planned(
    models: Mapping[str, Model],
    data: Data,
    named: Sequence[tuple[str, Attack]],
    config: EvaluationConfig,
    *,
    handed_on: Collection[int] = (),
    source: str | None = None,
    twin: str | None = None,
    seeds: int = 1,
    kept: int | None = None,
    progress: Progress = silent,
) -> Plan:
    """What each attack takes on models that call for no variants of it.

    The model is asked once about every image, since only what it gets right is attacked.

    Args:
        models: by name.
        data: the test set.
        named: the attacks.
        config: how they would be run.
        handed_on: places of the attacks that meet only what another size of them left.
        source: what the attacks are crafted on in the models' place, if on anything.
        twin: what attacks that follow gradients are crafted on too, if on anything.
        seeds: how often everything is repeated.
        kept: images that are saved for each attack; None if nothing at all is.
        progress: told about every batch that is asked about.
    """
    lines: list[Planned] = []
    remarks: list[str] = []
    if source is not None:
        remarks.append(f"attacks are crafted on {source}, and these passes go through that.")
    if twin is not None:
        remarks.append(
            f"attacks that follow gradients are crafted on {twin} too, and passes through that are "
            "not counted."
        )
    memory = search = 0
    for name, model in models.items():
        with eval_mode(model):
            tried = _tried(model, data, first_batch(config.batch_size))
            seen = _seen(model, data, named, config, twin is not None, progress)
            found = [
                _of_attack(model, data, attack, config, seen, source is None, place in handed_on)
                for place, (_, attack) in enumerate(named)
            ]
        memory, search = max(memory, tried.bytes), search + seeds * seen.search
        where = f"{name}: " if len(models) > 1 else ""
        remarks += [f"{where}not counted is what goes round this: {each}" for each in seen.found]
        for (spec, attack), (passes, exact, expected) in zip(named, found, strict=True):
            times = [None if n is None else n * seeds for n in (passes, expected)]
            seconds = [None if n is None else n * tried.seconds for n in times]
            at = spec, attack.threat.name, attack.threat.eps
            lines.append(Planned(name, *at, times[0], exact, times[1], *seconds))
    disk = 0
    if kept is not None:
        rows = (len(lines) + len(models)) * len(data) * _ROW
        pictures = len(lines) * min(kept, len(data)) * 3 * 4 * math.prod(data.shape)
        disk = seeds * (rows + pictures)
    return Plan(lines, len(data), memory, disk, config.audit, search, remarks)


class _Seen(NamedTuple):
    """What a model says of the images, and what it calls for."""

    attacked: Flags  # (N,) which images are
    classes: int
    plain: bool  # it calls for no variants of the attacks, and draws nothing
    search: int  # passes of looking for what it hides
    found: list[str]


def _seen(
    model: Model,
    data: Data,
    named: Sequence[tuple[str, Attack]],
    config: EvaluationConfig,
    twin: bool,
    progress: Progress,
) -> _Seen:
    tally = Tally()
    with tally.counting():
        hidden = hidden_in(model, data, config)
        twin_of(hidden, data, config, model if twin else None, "")
    probed = probe(
        model,
        data,
        seed=config.seed,
        batch_size=first_batch(config.batch_size),
        draws=hidden.stochastic,
        asked=hidden.model,
    )
    called = [variants_of(each, model, stochastic=probed.stochastic) for _, each in named]
    found = [finding.sentence for finding in hidden.found]
    ways = {one.name for variants in called for one in variants} - {"plain"}
    if ways:
        declared = "the model draws" if probed.stochastic else "a layer declares what it hides"
        found.append(f"{declared}, which calls for {', '.join(sorted(ways))}.")
    right = torch.ones(len(data), dtype=torch.bool)
    classes, device = 0, device_of(model)
    progress.start("ask the model", len(data))
    for index in data.batches(first_batch(config.batch_size)):
        with torch.no_grad():
            logits = model(data.x(index).to(device))
        classes = logits.shape[1]
        if found or config.attack_all:
            break
        right[index] = logits.argmax(dim=1).cpu() == data.y[index]
        progress.advance(len(index))
    return _Seen(right, classes, not found, tally.forwards + tally.backwards, found)


def _of_attack(
    model: Model,
    data: Data,
    attack: Attack,
    config: EvaluationConfig,
    seen: _Seen,
    itself: bool,
    handed_on: bool,
) -> tuple[int | None, bool, int | None]:
    """Passes of all images, whether they are exact, and how many are expected.

    Args:
        model: that the attack is to be run on.
        data: the test set.
        attack: any.
        config: how it would be run.
        seen: of the model.
        itself: whether the attack is crafted on the model.
        handed_on: whether it meets only what another size of it left.
    """
    try:
        each = passes_of(attack, data.shape, seen.classes)
    except HoldfastError:  # such as one that is made for certain networks
        return None, False, None
    attacked = int(seen.attacked.sum())
    total = each.most * attacked
    if handed_on or not (itself and seen.plain):
        return total, False, None
    expected = _expected(model, data, attack, config, seen, each)
    return total, each.exact, None if expected is None else round(expected * attacked)


class _Enough(HoldfastError):  # noqa: N818, no error of anybody's
    """An attack was watched for long enough; of Holdfast's own, so that it is not the model's."""


def _expected(
    model: Model, data: Data, attack: Attack, config: EvaluationConfig, seen: _Seen, each: Passes
) -> float | None:
    """Passes of an image on average, by some of the first batch that are attacked for a while.

    What has fallen by then has taken what it takes, and of the others each may take the most.
    """
    if each.exact:
        return each.most
    index = next(data.batches(first_batch(config.batch_size)))
    index = index[seen.attacked[index]][:_TRIED]
    if not len(index):
        return each.most
    device = device_of(model)
    counted = Counted(model, index.to(device))
    fallen = torch.zeros(len(index), dtype=torch.bool, device=device)

    def spent() -> Tensor:
        return counted.forwards + counted.backwards

    def watch(step: Step) -> None:
        fallen[step.position] |= step.reached

    def stop(*_: object) -> None:
        if int(spent().max()) >= _LEFT_AFTER:
            raise _Enough()

    counted.register_forward_pre_hook(stop)
    x, y = data.x(index).to(device), data.y[index].to(device)
    try:
        attack(counted, x, y, seed=config.seed, index=index.to(device), callback=watch)
    except _Enough:
        done = fallen & (spent() < spent().max())
        return float(torch.where(done, spent(), each.most).double().mean())
    except HoldfastError:  # of another library, which tells of a stop in its own way
        return None
    return float(spent().double().mean())


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
        about = {"images": plan.images, "attacks": lines, "search_passes": plan.search}
        about |= {"audit_share": None if math.isinf(plan.audit) else plan.audit}
        about |= {"remarks": list(plan.remarks)}
        print_json({**about, "memory_bytes": plan.memory, "disk_bytes": plan.disk})
        return
    models = dict.fromkeys(one.model for one in plan.lines)
    print_table(
        f"{', '.join(models)} on {plan.images} images: what each attack takes, and where it stops "
        f"at images that fall, at most and about",
        [
            {
                **({"model": one.model} if len(models) > 1 else {}),
                "attack": one.attack,
                "size": f"{one.norm} {size(one.eps)}",
                "passes": _passes("exactly " if one.exact else "at most ", one.passes),
                "passes\nabout": _passes("", one.expected),
                "time\nat most": "?" if one.seconds is None else _duration(one.seconds),
            }
            for one in plan.lines
        ],
    )
    for sentence in plan.remarks:
        print(sentence)
    known = [one.seconds for one in plan.lines if one.seconds is not None]
    likely = [one.expected_seconds for one in plan.lines if one.expected_seconds is not None]
    whole = f", about {_duration(sum(likely))} expected" if len(likely) == len(plan.lines) else ""
    share = "without a limit" if math.isinf(plan.audit) else f"at most {100 * plan.audit:g} %"
    print(
        f"all together at most {_duration(sum(known))}{whole}; the audit takes {share} on top, and "
        f"looking for what the model hides {plan.search:,} passes"
    )
    print(
        f"a batch takes at least {plan.memory / 1e6:.1f} MB of memory; on disk about "
        f"{plan.disk / 1e6:.1f} MB"
    )


def _passes(label: str, passes: int | None) -> str:
    return "?" if passes is None else f"{label}{passes:,}"


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2g} s"
