"""Adversarial images as an 8-bit file holds them: on 256 levels, and still within the ball."""

import torch
from jaxtyping import Bool
from torch import Tensor

from holdfast.tensors import expand
from holdfast.types import Images, Threat

__all__ = ["to_8_bit"]

_LEVELS = 255


def to_8_bit(x_adv: Images, x0: Images, threat: Threat) -> tuple[Images, Bool[Tensor, " n"]]:
    """Round to multiples of 1/255 without leaving the threat model.

    The nearest level of each pixel is tried first; where that leaves the ball, each pixel goes to
    the next level towards the clean image, which never lengthens a perturbation if the clean image
    itself lies on the grid.

    Args:
        x_adv: (N, C, H, W) adversarial images.
        x0: (N, C, H, W) clean images.
        threat: the ball.

    Returns:
        The images on the grid, and whether each lies within the ball.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.evaluation.rounding import to_8_bit
        >>> clean = (255 * x).round() / 255
        >>> rounded, inside = to_8_bit(Linf(0.1).project(clean + 0.1, clean), clean, Linf(0.1))
        >>> inside
        tensor([True, True, True, True])
    """
    levels = x_adv.double() * _LEVELS
    near = levels.round()
    towards = torch.where(x_adv > x0, levels.floor(), levels.ceil())
    limit = threat.eps * (1 + 1e-6)
    start = x0.double()
    fits = threat.distance(near / _LEVELS, start) <= limit
    chosen = torch.where(expand(fits, near), near, towards) / _LEVELS
    possible = threat.distance(chosen, start) <= limit
    return chosen.clamp(0, 1).to(x_adv.dtype), possible
