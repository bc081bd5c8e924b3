"""Whether the gradient that comes back through a module is the slope of what the module does.

A module f is asked about its output along a few directions d, and about its gradient:

    what it does    (w·f(u + h d) - w·f(u - h d)) / 2h,  at several scales h
    what it says    ⟨∇ w·f(u), d⟩

with a random w, two random directions and that of the gradient itself. Where f has kinks, as ReLU
and max-pooling have, one of the scales is small enough to meet none, and u lies a little beside the
images, since at a black pixel a kink is met at every scale.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from holdfast.evaluation.hidden.calls import Call
from holdfast.evaluation.hidden.findings import Kind
from holdfast.random import Stream

#: Scales h, as fractions of the standard deviation of what the module is given: in float64 the last
#: is so small that hardly ever a kink of a deep network lies within it.
SCALES = (1.0, 0.1, 1e-2, 1e-6)
_COARSE = (1.0, 0.1, 1e-2, 1e-3)  # where the module computes in fewer digits

_RANDOM = 2  # random directions; the third is the gradient's
_BESIDE = 0.02  # how far beside the images the module is asked about, in standard deviations
_SAME = 0.1  # relative error at which a slope is what finite differences say
_ROUGHLY = 0.5  # the same where the module computes in fewer digits, and kinks are met
_MOST = 0.7  # of the images have to bear a module out
_HALF = 0.5  # of the images without a gradient are enough to say that there is none
_FLAT = 30.0  # how often the gradient is contained in what a larger step does, if it says nothing


_TINY = torch.finfo(torch.float64).tiny


class Lie(NamedTuple):
    """What is wrong with a gradient."""

    kind: Kind
    said: str


class _Slopes(NamedTuple):
    """Of every image (or of all together, where a module mixes them), direction and scale."""

    says: Float[Tensor, "n d"]  # ⟨g, d⟩
    does: Float[Tensor, "n d h"]  # finite differences
    size: Float[Tensor, " n"]  # ‖g‖₂
    finite: Bool[Tensor, " n"]
    reaches: bool  # whether any gradient comes back at all
    moves: Bool[Tensor, " n"]  # whether any entry of the output changed at any scale
    scales: tuple[float, ...]


def lie_of(call: Call) -> Lie | None:
    """What is wrong with the gradient of a module at a call; None if it is right, or has no slope.

    Args:
        call: is made about thirty times over.
    """
    inputs = call.inputs
    if not any(tensor.numel() for tensor in inputs):
        return None
    found = _measured(call, inputs)
    moves = found.moves
    if not moves.any():
        return None
    if not found.reaches:
        return Lie("cut", "cuts the gradient off")
    if not found.finite.all():
        return Lie("not finite", "sends back a gradient that is not finite")
    if (found.size[moves] == 0).double().mean() >= _HALF:
        return Lie("zero", "sends back a gradient of exactly 0 though its output changes")
    return _false(found)


def _false(found: _Slopes) -> Lie | None:
    """Of a gradient that is there: whether it is another one than finite differences say."""
    says, does, size = found.says, found.does, found.size
    same = _SAME if found.scales == SCALES else _ROUGHLY
    scale = torch.maximum(torch.maximum(says.abs(), size[:, None])[..., None], does.abs())
    error = (does - says[..., None]).abs() / scale.clamp(min=_TINY)
    right = (error.amin(dim=2) < same).all(dim=1)
    if (right | _leads_uphill(found)).double().mean() < _MOST:
        rising = does[:, :_RANDOM].square().mean(dim=(0, 1)).sqrt().tolist()
        steps = zip(found.scales, found.scales[1:], rising, rising[1:], strict=False)
        if all(finer > 0.3 * h / less * before for h, less, before, finer in list(steps)[1:]):
            return Lie("jumps", "jumps at the smallest step, so that its gradient leads nowhere")
        return Lie("wrong", "sends back another gradient than finite differences say")
    far = does[:, :_RANDOM, :2].square().mean(dim=1).sqrt().amax(dim=1)
    if (far > _FLAT * size).double().mean() >= _HALF:
        return Lie("flat", "changes far more over a step than its gradient says")
    return None


def _leads_uphill(found: _Slopes) -> Bool[Tensor, " n"]:
    """Of a layer that moves in steps, and has no slope to compare: whether its gradient is of use.

    So is that of a straight-through estimator.
    """
    says, does = found.says[:, -1], found.does[:, -1]
    small, smaller = does[:, -2].abs(), does[:, -1].abs()
    in_steps = (smaller < _SAME * says.abs()) | (smaller > 2 * small) | (small > 2 * smaller)
    uphill = does / says[:, None].clamp(min=_TINY)
    return in_steps & ((uphill > 0.5) & (uphill < 2)).any(dim=1)


def _measured(call: Call, inputs: Sequence[Tensor]) -> _Slopes:
    """Everything that is asked of the module."""
    rng = _stream(call.rng, inputs)
    spread = [_spread(tensor) for tensor in inputs]
    noise = [_normal(rng.fold("beside", i), tensor) for i, tensor in enumerate(inputs)]
    base = [
        tensor + _BESIDE * width * draw
        for tensor, width, draw in zip(inputs, spread, noise, strict=True)
    ]
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in base]
        outputs = call.at(leaves)
        weights = [
            _normal(rng.fold("weights", i), output.detach()) for i, output in enumerate(outputs)
        ]
        sums = [
            (weight * output).sum()
            for weight, output in zip(weights, outputs, strict=True)
            if output.requires_grad
        ]
        grads: Sequence[Tensor | None] = [None] * len(leaves)
        if sums:
            grads = torch.autograd.grad(sum(sums[1:], sums[0]), leaves, allow_unused=True)
    reaches = any(grad is not None for grad in grads)
    slope = [
        torch.zeros_like(leaf) if grad is None else grad.detach()
        for leaf, grad in zip(leaves, grads, strict=True)
    ]
    apart = _apart([*base, *outputs])

    def per_image(tensors: Sequence[Tensor]) -> Tensor:
        total = [tensor.double().flatten(1 if apart else 0) for tensor in tensors]
        return torch.stack([each.sum(dim=-1).reshape(-1) for each in total]).sum(dim=0)

    size = per_image([(grad.double()) ** 2 for grad in slope]).sqrt()
    finite = size.isfinite()
    count = per_image([torch.ones_like(tensor) for tensor in base])
    length = (count.sqrt() / size).nan_to_num(0, 0, 0)
    uphill = [grad.nan_to_num(0, 0, 0).double() * _wide(length, grad, apart) for grad in slope]
    directions = [
        *(
            [_normal(rng.fold("direction", d, i), tensor) for i, tensor in enumerate(base)]
            for d in range(_RANDOM)
        ),
        [step.to(tensor) for step, tensor in zip(uphill, base, strict=True)],
    ]
    widest = max(spread)
    exact = all(t.dtype == torch.float64 for t in [*base, *outputs] if t.is_floating_point())
    scales = SCALES if exact else _COARSE
    says, does = [], []
    moves = torch.zeros_like(finite)
    for direction in directions:
        says.append(per_image([g * d for g, d in zip(slope, direction, strict=True)]))
        along = []
        for fraction in scales:
            h = fraction * widest
            ahead, behind = (
                _output(call, [b + s * h * d for b, d in zip(base, direction, strict=True)])
                for s in (1, -1)
            )
            if [o.shape for o in ahead] != [o.shape for o in behind]:
                return _shapeless(size, scales)
            change = [
                (a.double() - b.double()).nan_to_num() for a, b in zip(ahead, behind, strict=True)
            ]
            moves |= per_image([part.abs() for part in change]) > 0
            risen = [w.double() * part for w, part in zip(weights, change, strict=True)]
            along.append(per_image(risen) / (2 * h))
        does.append(torch.stack(along, dim=-1))
    return _Slopes(
        torch.stack(says, dim=1), torch.stack(does, dim=1), size, finite, reaches, moves, scales
    )


def _output(call: Call, inputs: Sequence[Tensor]) -> list[Tensor]:
    with torch.no_grad():
        return call.at(inputs)


def _shapeless(size: Tensor, scales: tuple[float, ...]) -> _Slopes:
    """Of a module whose output changes its shape, and which has no slope."""
    flat = torch.zeros(len(size), _RANDOM + 1, len(scales), dtype=size.dtype, device=size.device)
    no = torch.zeros_like(size, dtype=torch.bool)
    return _Slopes(flat[..., 0], flat, size, ~no, False, no, scales)


def _apart(tensors: Sequence[Tensor]) -> bool:
    """Whether the first axis of everything can be that of the images."""
    return all(t.dim() > 0 and t.shape[:1] == tensors[0].shape[:1] for t in tensors)


def _spread(tensor: Tensor) -> float:
    """Standard deviation; 1 for what is constant."""
    width = float(tensor.double().std(correction=0))
    return width if 0 < width < float("inf") else 1.0


def _stream(rng: Stream, inputs: Sequence[Tensor]) -> Stream:
    """One stream for tensors of any shape."""
    device = inputs[0].device
    return Stream.of(rng.key % 2**63, torch.zeros(1, dtype=torch.long, device=device))


def _normal(rng: Stream, like: Tensor) -> Tensor:
    """Standard normal numbers of a tensor's shape, whatever its axes mean."""
    dtype = like.dtype if like.is_floating_point() else torch.float32
    return rng.normal((max(like.numel(), 1),), dtype)[0, : like.numel()].view(like.shape)


def _wide(value: Tensor, like: Tensor, apart: bool) -> Tensor:
    return value.view(-1, *[1] * (like.dim() - 1)) if apart else value.view(())
