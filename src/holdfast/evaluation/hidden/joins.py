"""Ways through the code of a module's own `forward`, where that cuts the gradient.

A module that lies though none of its own modules does rounds, detaches or votes between their
calls. Its modules' inputs and outputs are known, so each cut has two sides: what stands before it
is an output of a module, or what the module itself was given, and what stands behind it is the next
module's input, or what is returned. Where both sides are alike the gradient is led from one to the
other as if nothing had happened between, and a hard vote becomes the mean of the members' softmax.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.attacks.bpda import Forward
from holdfast.defenses.straight_through import straight_through
from holdfast.evaluation.hidden.alike import agree, alike
from holdfast.evaluation.hidden.calls import Call

#: Name of what the module itself was given, among those of its modules.
_GIVEN = ""


@dataclass(frozen=True, eq=False)
class Joins:
    """A module's cuts, and what leads round each.

    Attributes:
        layer: the module.
        inside: by the name of one of its modules, whose output (or `_GIVEN`) leads to its input.
        returned: whose outputs lead to what is returned; none if nothing is cut there, several if
            they vote.
        soft: return what leads there, a soft vote, and not only its gradient.
        smooth: do without the cuts altogether: another function, whose slope is the gradient.
    """

    layer: nn.Module
    inside: Mapping[str, str] = field(default_factory=dict)
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
        if self.inside:
            parts.append("the identity past the cut")
        if self.soft and len(self.returned) > 1:
            parts.append(f"the soft vote of {len(self.returned)} members")
        elif self.soft:
            parts.append("the scores behind the hard answer")
        elif self.returned:
            parts.append("the identity past the last cut")
        return " and ".join(parts)

    def _run(self, forward: Forward, *args: Any, **kwargs: Any) -> Any:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        known = {_GIVEN: given[0]}

        def joined(name: str, x: Tensor) -> Tensor:
            source = known.get(self.inside[name]) if name in self.inside else None
            if source is None or source.numel() != x.numel():
                return x
            source = source.reshape(x.shape)
            return source if self.smooth else straight_through(x, source)

        def keep(name: str, output: Tensor) -> Tensor:
            known[name] = output
            return output

        with _watching(self.layer, joined, keep):
            output = forward(*args, **kwargs)
        sources = [known[name] for name in self.returned if name in known]
        if not sources:
            return output
        if self.soft:
            return soft_vote(sources)
        source = sources[0].reshape(output.shape)
        return source if self.smooth else straight_through(output, source)


def soft_vote(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the members' mean softmax; of one, its logits."""
    if len(logits) == 1:
        return logits[0]
    logs = torch.stack([member.log_softmax(dim=1) for member in logits])
    return logs.logsumexp(dim=0) - torch.tensor(float(len(logits))).log().to(logs)


def joins_of(call: Call, *, scores: bool) -> Joins | None:
    """The cuts within a module at a call, and what leads round them; None if nothing does.

    Args:
        call: whose module cuts its gradient off in its own code.
        scores: whether it returns scores of classes, which a hard vote may have made.
    """
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in call.inputs]
    known: dict[str, Tensor] = {_GIVEN: leaves[0]}
    entered: list[tuple[str, Tensor, dict[str, Tensor]]] = []

    def enter(name: str, x: Tensor) -> Tensor:
        entered.append((name, x, dict(known)))
        return x

    def leave(name: str, output: Tensor) -> Tensor:
        if not output.is_floating_point():
            return output
        known[name] = output.detach().requires_grad_()
        return known[name]

    with torch.enable_grad(), _watching(call.module, enter, leave):
        outputs = call.at(leaves)
    if len(outputs) != 1:
        return None
    inside = {}
    for name, x, before in entered:
        if not _reached(x, before.values()):
            source = next((each for each, y in reversed(before.items()) if alike(x, y)), None)
            if source is not None:
                inside[name] = source
    (output,) = outputs
    joins = Joins(call.module, inside)
    if _reached(output, known.values()):
        return joins if inside else None
    members = [name for name, each in known.items() if name and each.shape == output.shape]
    for several in (members, members[-1:]) if scores else ():
        if several and agree(output, soft_vote([known[name] for name in several])):
            return replace(joins, returned=tuple(several), soft=True)
    source = next((each for each, y in reversed(known.items()) if alike(output, y)), None)
    return None if source is None else replace(joins, returned=(source,))


def _reached(x: Tensor, sources: Any) -> bool:
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

    def hooks(name: str) -> tuple[Any, Any]:
        def before(module: nn.Module, args: Any) -> Any:
            nonlocal depth
            depth += 1
            if depth > 1:
                return None
            modes.append(torch.is_grad_enabled())
            torch.set_grad_enabled(wanted)
            if args and isinstance(args[0], Tensor) and args[0].is_floating_point():
                return (enter(name, args[0]), *args[1:])
            return None

        def after(module: nn.Module, args: Any, output: Any) -> Any:
            nonlocal depth
            depth -= 1
            if depth:
                return None
            if isinstance(output, Tensor):
                output = leave(name, output)
            torch.set_grad_enabled(modes.pop())
            return output

        return before, after

    for name, module in layer.named_modules():
        if module is not layer and not isinstance(module, torch.jit.ScriptModule):
            before, after = hooks(name)
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(after, always_call=True))
    try:
        yield
    finally:
        torch.set_grad_enabled(wanted)
        for handle in handles:
            handle.remove()
