"""Calls of modules within one forward pass, caught with hooks, so that each can be made again."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.evaluation.hidden.tally import asks
from holdfast.random import Stream, drawing_from, kept_global_generators, seed_every_generator

#: Deepest nesting of lists and dictionaries in what a module takes or returns that is looked into.
_DEEPEST = 4


@dataclass(frozen=True, eq=False)
class Call:
    """A module and what it was given.

    Attributes:
        name: of the module, qualified.
        module: to be called again.
        args: that it was given, copies without a graph.
        kwargs: the same, by name.
        rng: of whatever it draws, the same at every call.
    """

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    rng: Stream

    @property
    def inputs(self) -> list[Tensor]:
        """Its floating-point tensors."""
        return [t for t in tensors_of((self.args, self.kwargs)) if t.is_floating_point()]

    def at(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """What it returns for other floating-point tensors in the same places."""
        left = iter(inputs)

        def put(tensor: Tensor) -> Tensor:
            # A copy, since a layer may work in place, which a leaf of the graph does not bear.
            return next(left).clone() if tensor.is_floating_point() else tensor

        followed = torch.is_grad_enabled() and any(each.requires_grad for each in inputs)
        asks(len(self.rng.index), back=followed)
        args, kwargs = mapped((self.args, dict(self.kwargs)), put)
        device = inputs[0].device if inputs else self.rng.index.device
        with kept_global_generators(device), drawing_from(self.rng):
            seed_every_generator(self.rng.key % 2**63, device)
            return list(tensors_of(self.module(*args, **kwargs)))


def calls_within(call: Call) -> list[Call]:
    """The calls of the outermost modules inside one module, in turn, each module's first."""
    found: list[Call] = []
    depth = 0
    seen = set[nn.Module]()

    def before(name: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            nonlocal depth
            depth += 1
            if depth == 1 and module not in seen:
                seen.add(module)
                given, named = mapped((args, kwargs), lambda tensor: tensor.detach().clone())
                found.append(Call(name, module, given, named, call.rng))

        return hook

    def after(module: nn.Module, args: Any, output: Any) -> None:
        nonlocal depth
        depth -= 1

    with ExitStack() as hooks, torch.no_grad():
        for name, module in call.module.named_modules():
            if module is call.module or isinstance(module, torch.jit.ScriptModule):
                continue
            full = f"{call.name}.{name}" if call.name else name
            hooks.callback(module.register_forward_pre_hook(before(full), with_kwargs=True).remove)
            hooks.callback(module.register_forward_hook(after, always_call=True).remove)
        call.at(call.inputs)
    return found


def tensors_of(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif depth <= _DEEPEST and isinstance(value, tuple | list):
        for part in value:
            yield from tensors_of(part, depth + 1)
    elif depth <= _DEEPEST and isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_of(part, depth + 1)


def mapped(value: Any, change: Any, depth: int = 0) -> Any:
    """The same nesting, with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if depth <= _DEEPEST and isinstance(value, tuple | list):
        parts = [mapped(part, change, depth + 1) for part in value]
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*parts)
        return type(value)(parts)
    if depth <= _DEEPEST and isinstance(value, dict):
        return {key: mapped(part, change, depth + 1) for key, part in value.items()}
    return value
