"""Passes of ``holdfast train``: what its objective makes beforehand, and of every batch."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn

from holdfast import specs
from holdfast.cli import registry
from holdfast.cli.passes.about import about
from holdfast.cli.passes.bench import Bench, Known, example, firm
from holdfast.cli.train import on_held_out
from holdfast.data import Data
from holdfast.errors import HoldfastError
from holdfast.evaluation.forecast import passes_of
from holdfast.models import Architecture
from holdfast.random import Stream

#: Streams that an objective is tried with: it may choose at random what it attacks.
_TRIES = 8


def of_training(options: Mapping[str, Any], known: Known) -> int | None:
    """Passes at most."""
    found = about(options, "train")
    if found.images is None or found.classes is None:
        return None
    objective, norm, eps = (options[name] for name in ("objective", "norm", "eps"))
    model = _trained(options, known)
    first, each = _of_objective(objective, norm, eps, found.shape, found.classes, model)
    held, epochs = options["hold_out"], options["epochs"]
    measured = epochs * held * _of_validation(options, found.shape, found.classes)
    # One image is asked about beforehand, so that what cannot be trained is told.
    return int(1 + found.images * first + epochs * (found.images - held) * each + measured)


def _of_validation(options: Mapping[str, Any], shape: tuple[int, ...], classes: int) -> int:
    """Passes of a held-out image after an epoch: it is asked about, attacked, and asked about."""
    norm, eps = (
        options[of_training] if options[own] is None else options[own]
        for own, of_training in (("val_norm", "norm"), ("val_eps", "eps"))
    )
    attack = on_held_out(options["val_attack"], norm, eps)
    return 1 if attack is None else 2 + passes_of(attack, shape, classes).most


class _Trained(NamedTuple):
    """The network that is trained."""

    model: str
    normalized: bool
    centred: bool


def _trained(options: Mapping[str, Any], known: Known) -> _Trained | None:
    """What is trained; None if it starts from what nothing is known of."""
    while options["from_"] is not None:
        command, options = known.get(str(options["from_"]), ("", {}))
        if command != "train":
            return None
    return _Trained(options["model"], options["normalize"], options["centre"])


@cache
def _of_objective(
    spec: str,
    norm: str | None,
    eps: float | None,
    shape: tuple[int, ...],
    classes: int,
    trained: _Trained | None,
) -> tuple[int, int]:
    """Passes of an image before training, and in each epoch."""
    spec = _without_cache(spec)
    refused: HoldfastError | None = None
    for layers in _networks(shape, classes, trained):
        try:
            return _tried(spec, norm, eps, shape, classes, layers)
        except HoldfastError as error:  # such as an objective that trains denoisers
            refused = error
    assert refused is not None
    raise refused


def _networks(
    shape: tuple[int, ...], classes: int, trained: _Trained | None
) -> Iterator[Iterable[nn.Module]]:
    """Layers of what may be trained in place of the network: the simplest first."""
    yield firm(shape, classes)
    if trained is not None:
        channels, height, width = shape
        network = Architecture(
            name=trained.model,
            shape=(channels, height, width),
            classes=classes,
            normalized=trained.normalized,
            centred=trained.centred,
        )
        yield [network.build(seed=0)]


def _tried(
    spec: str,
    norm: str | None,
    eps: float | None,
    shape: tuple[int, ...],
    classes: int,
    layers: Iterable[nn.Module],
) -> tuple[int, int]:
    x, y, index = example(shape)
    bench = Bench(shape, classes, {})
    with bench.standing_in():
        model = bench.counted(*layers).train()
        objective = registry.objective(spec, Data.of(x, y), torch.device("cpu"), norm=norm, eps=eps)
        first, most = bench.spent, 0
        for seed in range(_TRIES):
            before = bench.spent
            loss, _ = objective(model, x, y, Stream.of(seed, index))
            loss.backward()
            most = max(most, bench.spent - before)
    return first, most


def _without_cache(spec: str) -> str:
    """The objective without the folder that it keeps things in: nothing is written or read there.

    Example:
        >>> from holdfast.cli.passes.training import _without_cache
        >>> _without_cache("adv-train-1(reference='runs/net', cache='runs/examples')")
        "adv-train-1(reference='runs/net')"
    """
    written = specs.parse(spec)
    if "cache" not in written.parameters:
        return spec
    others = specs.plain([*written.parameters.values()])
    kept = {k: v for k, v in zip(written.parameters, others, strict=True) if k != "cache"}
    return f"{written.name}({', '.join(f'{key}={value!r}' for key, value in kept.items())})"
