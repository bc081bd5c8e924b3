"""What stands in for the gradient of a layer that lies, chosen by what the layer is like."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.attacks.bpda import Bridge, Forward, other_forwards, through_identity
from holdfast.defenses.straight_through import straight_through
from holdfast.errors import ModelError
from holdfast.evaluation.hidden.alike import agree, alike, fitted
from holdfast.evaluation.hidden.calls import Call, tensors_of
from holdfast.evaluation.hidden.differences import through_differences
from holdfast.evaluation.hidden.imitate import imitate
from holdfast.evaluation.hidden.joins import Joins, joins_of
from holdfast.evaluation.hidden.slopes import Lie
from holdfast.evaluation.hidden.tally import asks
from holdfast.random import Stream
from holdfast.types import Images, Model

#: Pairs that an imitation is fitted to, and how far beside the images they are taken.
_PAIRS = 1024
_BESIDE = (0.0, 0.05, 0.1, 0.2)

#: One pair in so many is held back, and what an imitation may leave unexplained of these.
_HELD = 5
_UNEXPLAINED = 0.5


@dataclass(frozen=True, eq=False)
class Way:
    """A bridge, and the smooth function that the bridged module has for its gradient.

    Attributes:
        bridge: for the attacks.
        smooth: makes of a copy of the module one that is that function, to search on behind it.
    """

    bridge: Bridge
    smooth: Callable[[nn.Module], Callable[[Forward], Forward]]


def ways_round(within: Sequence[Call], lie: Lie, model: Model, x: Images) -> Iterator[Way]:
    """What may stand in for the gradient of a module that lies, the best first.

    The identity, in the shape that it takes; where none fits the module, what leads past it in one
    that holds it; and else a network that imitates it, or the average of its finite differences.

    Args:
        within: calls of the modules that hold it, of a copy of the model, and its own at the end.
        lie: how it lies.
        model: the model itself.
        x: images at hand, for an imitation.
    """
    call = within[-1]
    asks(len(call.inputs[0]))
    with torch.no_grad():
        scores = next(tensors_of(model(x[: len(call.inputs[0])].clone()))).shape
    if lie.kind in ("cut", "zero", "wrong", "not finite"):
        yield from _joined(call, lie, model, scores)
    taken, returned = call.inputs, _returned(call)
    layer = model.get_submodule(call.name)
    bridge = partial(Bridge, layer, call.name)
    if len(taken) == len(returned) == 1:
        if returned[0].shape == scores and agree(returned[0], taken[0]):
            yield Way(bridge("the scores behind the hard answer", given), lambda _: given)
        if alike(taken[0], returned[0]):
            if taken[0].shape == returned[0].shape:
                yield Way(bridge("the identity", through_identity), lambda _: given)
            else:
                resized = partial(_shaped, returned[0].shape[1:])
                yield _through_student(bridge, "the identity, resized", resized)
    for outer in within[-2::-1]:
        yield from _joined(outer, lie, model, scores)
    student = _student(layer, model, x, call.rng) if len(taken) == len(returned) == 1 else None
    if student is not None:
        yield _through_student(bridge, "a small network fitted to imitate it", student)
    elif call.name:
        how = "the average of its finite differences"
        yield Way(bridge(how, through_differences), lambda _: through_differences)


def bears(way: Way, within: Sequence[Call]) -> bool:
    """Whether a gradient gets past a module that holds one on the way round it."""
    held = [call for call in within if call.name == way.bridge.name]
    if not held:
        return False
    call = held[0]
    wrap = way.bridge.wrap
    if isinstance(wrap, Joins):
        wrap = wrap.on(call.module, smooth=False)
    with other_forwards({call.module: wrap}), torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in call.inputs]
        sums = [out.double().sum() for out in call.at(leaves) if out.requires_grad]
        if not sums:
            return False
        grads = torch.autograd.grad(sum(sums[1:], sums[0]), leaves, allow_unused=True)
    there = [grad for grad in grads if grad is not None and grad.isfinite().all()]
    return any(bool((grad != 0).any()) for grad in there)


def _joined(call: Call, lie: Lie, model: Model, scores: torch.Size) -> Iterator[Way]:
    """What leads past the cuts in a module's own code."""
    if not any(True for _ in call.module.children()):
        return
    joins = joins_of(
        call,
        scores=[t.shape for t in _returned(call)] == [scores],
        distrust=lie.kind in ("wrong", "not finite"),
    )
    if joins is not None:
        layer = model.get_submodule(call.name)
        yield Way(
            Bridge(layer, call.name, joins.how, joins.on(layer, smooth=False)),
            lambda copied: joins.on(copied, smooth=True),
        )


def _through_student(
    bridge: Callable[..., Bridge], how: str, student: Callable[[Tensor], Tensor]
) -> Way:
    return Way(bridge(how, partial(_through, student)), lambda _: partial(instead, student))


def _shaped(shape: torch.Size, x: Tensor) -> Tensor:
    """The identity, resized."""
    resized = fitted(x, x.new_empty(len(x), *shape))
    if resized is None:
        raise ModelError(f"{tuple(x.shape)} does not fit into {tuple(shape)}.")
    return resized


def _student(layer: nn.Module, model: Model, x: Images, rng: Stream) -> nn.Module | None:
    """A small network that has learnt to imitate a module; None if it has not."""
    pairs = _pairs(layer, model, x, rng)
    if pairs is None:
        return None
    taken, returned = pairs
    held = torch.arange(len(taken), device=taken.device) % _HELD == 0
    student = imitate(taken[~held], returned[~held], seed=rng.key)
    missed = (student(taken[held].float()) - returned[held]).square().mean()
    spread = returned[held].float().var(dim=0, correction=0).mean()
    return student if float(missed) < _UNEXPLAINED * float(spread) or layer is model else None


def _returned(call: Call) -> list[Tensor]:
    with torch.no_grad():
        return call.at(call.inputs)


def _pairs(layer: nn.Module, model: Model, x: Images, rng: Stream) -> tuple[Tensor, Tensor] | None:
    """What a module is given and returns on images and beside them."""
    found: list[tuple[Tensor, Tensor]] = []

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        taken = [t for t in tensors_of((args, kwargs)) if t.is_floating_point()]
        found.append((taken[0].detach().clone(), next(tensors_of(output)).detach().clone()))

    handle = layer.register_forward_hook(hook, with_kwargs=True)
    rounds = -(-_PAIRS // len(x))
    everyone = torch.zeros(1, dtype=torch.long, device=x.device)
    draws = Stream.of(rng.key % 2**63, everyone).fold("pairs")
    try:
        with torch.no_grad():
            for number in range(rounds):
                asks(len(x))
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


def _through(student: Callable[[Tensor], Tensor], forward: Forward) -> Forward:
    """What it returns, with the student's gradient."""
    return partial(_with_gradient_of, student, forward)


def _with_gradient_of(
    student: Callable[[Tensor], Tensor], forward: Forward, x: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    with torch.no_grad():
        output = forward(x, *args, **kwargs)
    return straight_through(output, student(x))


def instead(student: Callable[[Tensor], Tensor], forward: Forward) -> Forward:
    """What the student returns, whatever the module would."""
    return lambda x, *args, **kwargs: student(x)
