"""What stands in for the gradient of a layer that lies, chosen by what the layer is like."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.attacks.bpda import Bridge, Forward, through_identity
from holdfast.defenses.straight_through import straight_through
from holdfast.evaluation.hidden.alike import agree, alike
from holdfast.evaluation.hidden.calls import Call, tensors_of
from holdfast.evaluation.hidden.imitate import imitate
from holdfast.evaluation.hidden.joins import joins_of
from holdfast.evaluation.hidden.slopes import Lie
from holdfast.random import Stream
from holdfast.types import Images, Model

#: Pairs that an imitation is fitted to, and how far beside the images they are taken.
_PAIRS = 1024
_BESIDE = (0.0, 0.05, 0.1, 0.2)


@dataclass(frozen=True, eq=False)
class Way:
    """A bridge, and the smooth function that the bridged module has for its gradient.

    Attributes:
        bridge: for the attacks.
        smooth: makes of a copy of the module one that is that function, to search on behind it.
    """

    bridge: Bridge
    smooth: Callable[[nn.Module], Callable[[Forward], Forward]]


def way_round(call: Call, lie: Lie, model: Model, x: Images) -> Way | None:
    """What stands in for the gradient of the module of a call; None if nothing does.

    Args:
        call: of a copy of the module.
        lie: how it lies.
        model: the model itself.
        x: images at hand, for an imitation.
    """
    layer = model.get_submodule(call.name)
    with torch.no_grad():
        scores = next(tensors_of(model(x[: len(call.inputs[0])]))).shape
    bridge = partial(Bridge, layer, call.name)
    if lie.kind in ("cut", "zero") and any(True for _ in call.module.children()):
        joins = joins_of(call, scores=[t.shape for t in _returned(call)] == [scores])
        if joins is not None:
            return Way(
                bridge(joins.how, joins.on(layer, smooth=False)),
                lambda copied: joins.on(copied, smooth=True),
            )
    taken, returned = call.inputs, _returned(call)
    if len(taken) != 1 or len(returned) != 1:
        return None
    if returned[0].shape == scores and agree(returned[0], taken[0]):
        return Way(bridge("the scores behind the hard answer", given), lambda _: given)
    if taken[0].shape == returned[0].shape and alike(taken[0], returned[0]):
        return Way(bridge("the identity", through_identity), lambda _: given)
    pairs = _pairs(layer, model, x, call.rng)
    if pairs is None:
        return None
    student = imitate(*pairs, seed=call.rng.key)
    return Way(
        bridge("a small network fitted to imitate it", partial(_through, student)),
        lambda _: partial(instead, student),
    )


def _returned(call: Call) -> list[Tensor]:
    with torch.no_grad():
        return call.at(call.inputs)


def _pairs(layer: nn.Module, model: Model, x: Images, rng: Stream) -> tuple[Tensor, Tensor] | None:
    """What a module is given and returns on images and beside them."""
    found: list[tuple[Tensor, Tensor]] = []

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        given = [t for t in tensors_of((args, kwargs)) if t.is_floating_point()]
        found.append((given[0].detach().clone(), next(tensors_of(output)).detach().clone()))

    handle = layer.register_forward_hook(hook, with_kwargs=True)
    rounds = -(-_PAIRS // len(x))
    everyone = torch.zeros(1, dtype=torch.long, device=x.device)
    draws = Stream.of(rng.key % 2**63, everyone).fold("pairs")
    try:
        with torch.no_grad():
            for number in range(rounds):
                noise = draws.fold(number).uniform(x.shape, x.dtype)[0] * 2 - 1
                model((x + _BESIDE[number % len(_BESIDE)] * noise).clamp(0, 1))
    finally:
        handle.remove()
    if any(len(u) != len(v) for u, v in found):
        return None
    return torch.cat([u for u, _ in found]), torch.cat([v for _, v in found])


def given(forward: Forward) -> Forward:
    """What it is given, in place of what it returns."""
    return lambda x, *args, **kwargs: x


def _through(student: nn.Module, forward: Forward) -> Forward:
    """What it returns, with the student's gradient."""
    return partial(_with_gradient_of, student, forward)


def _with_gradient_of(
    student: nn.Module, forward: Forward, x: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    with torch.no_grad():
        output = forward(x, *args, **kwargs)
    return straight_through(output, student(x))


def instead(student: Callable[[Tensor], Tensor], forward: Forward) -> Forward:
    """What the student returns, whatever the module would."""
    return lambda x, *args, **kwargs: student(x)
