"""The trainer: the same weights on each device, precisions, and checkpoints that change devices."""

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.device.pair import Pair, agree, expect
from tests.device.parts import FailedError, Part, SkippedError
from tests.device.subjects import Architecture, Stream, cases, digits, fit, load, training

SMALL = Architecture(name="small", shape=(1, 8, 8), classes=10)

#: Float32, a few steps of SGD: the gradient's rounding, times the learning rate, times the steps.
WITHIN = 1e-4


class HaltError(Exception):
    """What stops a training at a step, as a kill would."""


def parts(pair: Pair) -> Iterator[Part]:
    for name in ("Standard", "Stability", "TRADES"):
        yield Part(f"training/{name}", lambda n=name: _beside(pair, n))
    for precision in ("bf16-mixed", "16-mixed"):
        yield Part(f"training/{precision}", lambda p=precision: _precision(pair, p))
    cpu, device = "cpu", pair.device.type
    for start, end in ((device, device), (device, cpu), (cpu, device)):
        yield Part(
            f"checkpoints/halted on {start}, resumed on {end}",
            lambda s=start, e=end: _resumed(s, e),
        )
    yield Part("checkpoints/a network trained there, read here", lambda: _read(pair))


def _trained(where: str, out: Path, objective: Any, **options: Any) -> nn.Module:
    """Two epochs of 4 steps, from one network."""
    hooks, network = options.pop("hooks", ()), options.pop("network", SMALL.build(0))
    schedule = training.Schedule(
        **{
            "epochs": 2,
            "batch_size": 64,
            "lr": 0.05,
            "optimizer": training.SGD(momentum=0.9),
            "average": 0.9,
            "clip": 1.0,
            "accelerator": where,
            **options,
        }
    )
    fit(
        network,
        digits(256),
        objective,
        schedule,
        architecture=SMALL,
        out=out,
        hooks=hooks,
        checkpoint_seconds=0,
    )
    return network


def _weights(network: nn.Module) -> Tensor:
    return torch.cat([weight.detach().cpu().flatten() for weight in network.parameters()])


def _beside(pair: Pair, name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:

        def run(network: nn.Module, where: torch.device) -> nn.Module:
            sides.append(where)
            out = Path(folder) / str(len(sides))
            return _trained(where.type, out, cases.OBJECTIVES[name], network=network)

        sides: list[torch.device] = []
        here, there = pair.both(run, SMALL.build(0))
    return agree(_weights(here), _weights(there), 10 * WITHIN, "weights")


def _precision(pair: Pair, precision: str) -> str:
    """In 16 bits training goes where float32 goes, roughly."""
    if pair.alone and precision == "16-mixed":
        raise SkippedError("needs a GPU")
    with tempfile.TemporaryDirectory() as folder:
        full, mixed = (
            _trained(pair.device.type, Path(folder) / kind, training.Standard(), precision=kind)
            for kind in ("32-true", precision)
        )
    start, data = SMALL.build(0), digits(256)
    losses = []
    for network in (start, full, mixed):
        with torch.no_grad():
            logits = network.cpu().eval()(data.x(torch.arange(256)))
        losses.append(float(nn.functional.cross_entropy(logits, data.y)))
    saw = f"loss {losses[0]:.4f} before, {losses[1]:.4f} in float32, {losses[2]:.4f} in {precision}"
    expect(abs(losses[2] - losses[1]) <= 0.1 * (losses[0] - losses[1]), saw)
    return saw


def _resumed(start: str, end: str) -> str:
    """Halted within the second epoch, after a checkpoint, and gone on with."""

    def halt(network: nn.Module, rng: Stream, step: int) -> dict[str, Tensor]:
        if step == 5:
            raise HaltError
        return {}

    objective = cases.OBJECTIVES["Stability"]
    with tempfile.TemporaryDirectory() as folder:
        whole = _trained(end, Path(folder) / "whole", objective)
        out = Path(folder) / "broken"
        try:
            _trained(start, out, objective, hooks=[halt])
            raise FailedError("the training was not halted")
        except HaltError:
            pass
        resumed = _trained(end, out, objective)
    # On one device the algorithms are repeatable, and so are the weights.
    within = 0.0 if start == end == "cpu" else WITHIN
    return agree(_weights(whole), _weights(resumed), within, "weights")


def _read(pair: Pair) -> str:
    """A run folder written by a training on the device holds a network for any device."""
    with tempfile.TemporaryDirectory() as folder:
        schedule = training.Schedule(epochs=1, batch_size=64, accelerator=pair.device.type)
        out = Path(folder) / "run"
        given = training.train_data(SMALL, digits(256), training.Standard(), schedule, out)
        read = load(str(out))
    expect(next(read.parameters()).device.type == "cpu", "the network read is not on the CPU")
    agree(_weights(given), _weights(read), 0.0, "weights")
    x = digits(32).x(torch.arange(32))
    with torch.no_grad():
        there = copy.deepcopy(read).to(pair.device)(x.to(pair.device))
        return agree(read(x), there, 1e-4 * float(read(x).abs().max()), "logits")
