"""The average of finite differences: the slope of a module that has none, blurred.

What a module f does around u, seen through Gaussian noise, is smooth, and the gradient of w·E f(u +
h d) is the mean of d (w·f(u + h d) - w·f(u - h d)) / 2h over directions d. It asks nothing of the
module but answers, and serves where neither the identity has the shape nor a small network learns
to imitate it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.bpda import Forward
from holdfast.evaluation.hidden.calls import mapped, tensors_of
from holdfast.random import layer_noise

#: Directions of one gradient, and the length of a step along each, in standard deviations.
_DIRECTIONS = 24
_WIDTH = 0.3


def through_differences(forward: Forward) -> Forward:
    """What it returns, with the average of finite differences for its gradient.

    Example:
        >>> from holdfast.evaluation.hidden.differences import through_differences
        >>> from holdfast.random import Stream, drawing_from
        >>> pixels = torch.rand(4, 8, requires_grad=True)
        >>> with drawing_from(Stream.of(0, torch.arange(4))):
        ...     through_differences(lambda x: (8 * x).round())(pixels).sum().backward()
        >>> bool(pixels.grad.mean() > 4)
        True
    """
    return partial(_run, forward)


def _run(forward: Forward, *args: Any, **kwargs: Any) -> Any:
    given = [t for t in tensors_of((args, kwargs)) if t.is_floating_point()]

    def asked(inputs: Sequence[Tensor]) -> Any:
        left = iter(inputs)
        back = partial(_instead, left)
        again, named = mapped((args, dict(kwargs)), back)
        with torch.no_grad():
            return forward(*again, **named)

    output = asked([tensor.detach() for tensor in given])
    if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)):
        return output
    directions = [[layer_noise(tensor.detach()) for tensor in given] for _ in range(_DIRECTIONS)]
    numbers = [t for t in tensors_of(output) if t.is_floating_point()]
    smooth = iter(_Differences.apply(asked, directions, numbers, *given))
    return mapped(output, lambda tensor: next(smooth) if tensor.is_floating_point() else tensor)


def _instead(left: Any, tensor: Tensor) -> Tensor:
    return next(left).clone() if tensor.is_floating_point() else tensor


class _Differences(torch.autograd.Function):
    """Numbers that a module returned, with the blurred slope."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx,
        asked: Callable[[Sequence[Tensor]], Any],
        directions: Sequence[Sequence[Tensor]],
        numbers: Sequence[Tensor],
        *given: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.asked, ctx.directions = asked, directions
        ctx.save_for_backward(*given)
        return tuple(number.clone() for number in numbers)

    @staticmethod
    def backward(ctx, *weights):  # type: ignore[no-untyped-def]
        given = [tensor.detach() for tensor in ctx.saved_tensors]
        width = _WIDTH * max(float(tensor.std(correction=0)) for tensor in given) or _WIDTH
        total = [torch.zeros_like(tensor) for tensor in given]
        for direction in ctx.directions:
            risen = given[0].new_zeros(len(given[0]))
            for sign in (1, -1):
                there = [u + sign * width * d for u, d in zip(given, direction, strict=True)]
                found = [t for t in tensors_of(ctx.asked(there)) if t.is_floating_point()]
                each = [
                    (w * out).flatten(1).sum(dim=1) for w, out in zip(weights, found, strict=True)
                ]
                risen = risen + sign * torch.stack(each).sum(dim=0) / (2 * width)
            for sum_, step in zip(total, direction, strict=True):
                sum_ += risen.view(-1, *[1] * (step.dim() - 1)) * step / _DIRECTIONS
        return (None, None, None, *total)
