"""Ways through the code of a module's own `forward`, where that cuts the gradient.

A module that lies though none of its own modules does rounds, detaches or votes between their
calls. Its modules' inputs and outputs are known, so each cut has two sides: what stands before it
is an output of a module, or what the module itself was given, and what stands behind it is the next
module's input or output, or what is returned. Where both sides are alike the gradient is led from
one to the other as if nothing had happened between, also past modules that hand each other whole
numbers, lists or dictionaries, and a hard vote becomes the mean of the members' softmax.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from holdfast.attacks.bpda import Forward
from holdfast.defenses.straight_through import straight_through
from holdfast.evaluation.hidden.alike import agree, alike, fitted
from holdfast.evaluation.hidden.calls import Call, mapped

#: Name of what the module itself was given, among those of its modules.
_GIVEN = ""


@dataclass(frozen=True, eq=False)
class Joins:
    """A module's cuts, and what leads round each.

    Attributes:
        layer: the module.
        inside: by the name of one of its modules, whose output (or `_GIVEN`) leads to its input.
        past: by the name of one of its modules, whose output (or `_GIVEN`) leads to its output.
        returned: whose outputs lead to what is returned; none if nothing is cut there, several if
            they vote.
        soft: return what leads there, a soft vote, and not only its gradient.
        smooth: do without the cuts altogether: another function, whose slope is the gradient.
    """

    layer: nn.Module
    inside: Mapping[str, str] = field(default_factory=dict)
    past: Mapping[str, str] = field(default_factory=dict)
    returned: tuple[str, ...] = ()
    soft: bool = False
    smooth: bool = False

    def __call__(self, forward: Forward) -> Forward:
        """A forward with a gradient."""
        return partial(self._run, forward)

    def on(self, layer: nn.Module, *, smooth: bool) -> "Joins":
        """The same for another copy of the module."""
        return replace(self, layer=layer, smooth=smooth)

    @property
    def how(self) -> str:
        """What stands in for the gradient, for the record."""
        parts = []
        if self.inside or self.past:
            parts.append("the identity past the cut")
        if self.soft and len(self.returned) > 1:
            parts.append(f"the soft vote of {len(self.returned)} members")
        elif self.soft:
            parts.append("the scores behind the hard answer")
        elif self.returned:
            parts.append("the identity past the last cut")
        if not parts:
            parts.append("the gradients that its code asks not to be taken")
        return " and ".join(parts)

    def _run(self, forward: Forward, *args: Any, **kwargs: Any) -> Any:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        known = {_GIVEN: given[0]}
        args, kwargs = mapped((args, kwargs), Tensor.clone)  # what works in place leaves that alone

        def led(x: Tensor, source: Tensor | None) -> Tensor:
            source = None if source is None else fitted(source, x)
            if source is None:
                return x
            return source if self.smooth else straight_through(x, source)

        def joined(name: str, x: Tensor) -> Tensor:
            return led(x, known.get(self.inside.get(name, "\0")))

        def keep(name: str, output: Tensor) -> Tensor:
            known[name] = led(output, known.get(self.past.get(name, "\0")))
            return known[name]

        with _watching(self.layer, joined, keep):
            output = forward(*args, **kwargs)
        sources = [known[name] for name in self.returned if name in known]
        if not sources:
            return output
        if self.soft:
            return soft_vote(sources)
        return led(output, sources[0])


def soft_vote(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the members' mean softmax; of one, its logits."""
    if len(logits) == 1:
        return logits[0]
    logs = torch.stack([member.log_softmax(dim=1) for member in logits])
    return logs.logsumexp(dim=0) - torch.tensor(float(len(logits))).log().to(logs)


def joins_of(call: Call, *, scores: bool, distrust: bool = False) -> Joins | None:
    """The cuts within a module at a call, and what leads round them; None if nothing does.

    Where there is none, the joins lead nowhere, but let pass what the code asks not to be taken.

    Args:
        call: whose module cuts its gradient off in its own code.
        scores: whether it returns scores of classes, which a hard vote may have made.
        distrust: take every gradient between modules for a cut, as where one of them is wrong.
    """
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in call.inputs]
    known: dict[str, Tensor] = {_GIVEN: leaves[0]}
    inside: dict[str, str] = {}
    past: dict[str, str] = {}
    entered: dict[str, Tensor] = {}

    def reached(x: Tensor, sources: Collection[Tensor]) -> bool:
        return any(x is source for source in sources) if distrust else _reached(x, sources)

    def source_of(x: Tensor) -> str | None:
        return next((each for each, y in reversed(known.items()) if alike(y, x)), None)

    def enter(name: str, x: Tensor) -> Tensor:
        if not reached(x, known.values()) and (source := source_of(x)) is not None:
            inside[name] = source
            x = x.detach().requires_grad_()
        entered[name] = x
        return x

    def leave(name: str, output: Tensor) -> Tensor:
        if not output.is_floating_point():
            return output
        before = [*known.values(), *(x for x in (entered.get(name),) if _is_leaf(x))]
        if not _reached(output, before) and (source := source_of(output)) is not None:
            past[name] = source
        known[name] = output.detach().requires_grad_()
        return known[name]

    with torch.enable_grad(), _watching(call.module, enter, leave):
        outputs = call.at(leaves)
    if len(outputs) != 1:
        return None
    (output,) = outputs
    joins = Joins(call.module, inside, past)
    if reached(output, known.values()):
        return joins
    members = [name for name, each in known.items() if name and each.shape == output.shape]
    for several in (members, members[-1:]) if scores else ():
        if several and agree(output, soft_vote([known[name] for name in several])):
            return replace(joins, returned=tuple(several), soft=True)
    source = source_of(output)
    return None if source is None else replace(joins, returned=(source,))


def _is_leaf(x: Tensor | None) -> TypeGuard[Tensor]:
    return x is not None and x.is_leaf and x.requires_grad


def _reached(x: Tensor, sources: Collection[Tensor]) -> bool:
    """Whether a gradient that is not 0 gets from a tensor to one of several."""
    if not x.requires_grad:
        return False
    weights = torch.linspace(0.5, 1.5, max(x.numel(), 1), dtype=x.dtype, device=x.device)
    total = (x * weights[: x.numel()].view(x.shape)).sum()
    grads = torch.autograd.grad(total, list(sources), allow_unused=True, retain_graph=True)
    return any(grad is not None and bool((grad != 0).any()) for grad in grads)


@contextmanager
def _watching(layer: nn.Module, enter: Any, leave: Any) -> Iterator[None]:
    """Within the block the outermost modules in a layer take and return what two functions say.

    They run with gradients even where the layer's code asks for none, if the caller wants them.
    """
    wanted, depth, modes = torch.is_grad_enabled(), 0, list[bool]()
    handles = []

    def before(name: str, module: nn.Module, args: Any) -> Any:
        nonlocal depth
        depth += 1
        if depth > 1:
            return None
        modes.append(torch.is_grad_enabled())
        torch.set_grad_enabled(wanted)
        if args and isinstance(args[0], Tensor) and args[0].is_floating_point():
            return (enter(name, args[0]), *args[1:])
        return None

    def after(name: str, module: nn.Module, args: Any, output: Any) -> Any:
        nonlocal depth
        depth -= 1
        if depth:
            return None
        if isinstance(output, Tensor):
            output = leave(name, output)
        torch.set_grad_enabled(modes.pop())
        return output

    for name, module in layer.named_modules():
        if module is not layer and not isinstance(module, torch.jit.ScriptModule):
            handles.append(module.register_forward_pre_hook(partial(before, name)))
            handles.append(module.register_forward_hook(partial(after, name), always_call=True))
    try:
        yield
    finally:
        torch.set_grad_enabled(wanted)
        for handle in handles:
            handle.remove()
