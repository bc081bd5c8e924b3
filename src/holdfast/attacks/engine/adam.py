"""Adam's direction, with running means of the gradient and its square for each example."""

from typing import NamedTuple

import torch

from holdfast.types import Images


class Moments(NamedTuple):
    """Running means, a row for each example."""

    mean: Images
    square: Images


def adam(grad: Images, before: Moments | None, step: int) -> tuple[Images, Moments]:
    """m̂ / (√v̂ + 1e-8), bias-corrected by the step, and what to remember.

    Args:
        grad: (N, C, H, W).
        before: of the step before; None at first.
        step: counted from 0.

    Reference:
        Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.

    Example:
        >>> from holdfast.attacks.engine.adam import adam
        >>> direction, memory = adam(torch.tensor([[0.5, -2.0]]), None, 0)
        >>> direction.round(decimals=3)
        tensor([[ 1., -1.]])
    """
    # In 16 bits the squares of gradients are 0, and so is 1e-8.
    grad = grad.to(torch.promote_types(grad.dtype, torch.float32))
    if before is None:
        before = Moments(torch.zeros_like(grad), torch.zeros_like(grad))
    mean = 0.9 * before.mean + 0.1 * grad
    square = 0.999 * before.square + 0.001 * grad.square()
    moments = Moments(mean, square)
    return mean / (1 - 0.9 ** (step + 1)) / steepness(moments, step), moments


def steepness(moments: Moments, step: int) -> Images:
    """√v̂ + 1e-8, what Adam divides by.

    Example:
        >>> from holdfast.attacks.engine.adam import adam, steepness
        >>> _, moments = adam(torch.tensor([[0.5, -2.0]]), None, 0)
        >>> steepness(moments, 0)
        tensor([[0.5000, 2.0000]])
    """
    return (moments.square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
