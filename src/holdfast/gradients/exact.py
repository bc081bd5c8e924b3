"""The exact gradient."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from holdfast.checks import check_grad_mode
from holdfast.errors import GradientError
from holdfast.random import Stream, drawing_from
from holdfast.types import Gradient, Images, Score, Slope, SlopeAt

__all__ = ["Autograd", "autograd", "cut_off", "differentiate"]


@dataclass(frozen=True, repr=False)
class Autograd(Gradient):
    """The exact gradient of the score, from one forward and one backward pass.

    Example:
        >>> from holdfast.goals import cross_entropy
        >>> from holdfast.gradients import autograd
        >>> from holdfast.random import Stream
        >>> slope = autograd(cross_entropy(model, x, y))
        >>> value, grad, reached = slope(x, Stream.of(0, torch.arange(4)))
        >>> value.shape, grad.shape
        (torch.Size([4]), torch.Size([4, 1, 8, 8]))
    """

    def __call__(self, score: Score) -> SlopeAt:
        """Bind to a score."""
        return partial(_exactly, score)

    def __repr__(self) -> str:
        return "autograd"


def _exactly(score: Score, x: Tensor, rng: Stream, progress: float = 1.0) -> Slope:
    del progress
    with drawing_from(rng.fold("model")):
        return differentiate(score, x)


autograd = Autograd()


def differentiate(score: Score, x: Tensor) -> Slope:
    """Value and gradient of a score at ``x``; writes no ``.grad`` anywhere.

    Args:
        score: of N examples.
        x: (N, C, H, W) images.

    Raises:
        GradientError: if no gradient reaches the images.

    Example:
        >>> from holdfast.goals import cross_entropy
        >>> from holdfast.gradients.exact import differentiate
        >>> differentiate(cross_entropy(model, x, y), x).grad.shape
        torch.Size([4, 1, 8, 8])
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value, reached = score(x)
        grad = _gradient_of(value, x)
    return Slope(value.detach(), grad, reached.detach())


def _gradient_of(value: Tensor, x: Tensor) -> Images:
    """Of the sum, never of the mean: an example's gradient does not depend on its batch mates."""
    grad = None
    if value.requires_grad:
        (grad,) = torch.autograd.grad(value, x, torch.ones_like(value), allow_unused=True)
    if grad is None:
        raise cut_off()
    return grad


def cut_off() -> GradientError:
    """Why there is no gradient.

    Example:
        >>> from holdfast.gradients.exact import cut_off
        >>> raise cut_off()
        Traceback (most recent call last):
        holdfast.errors.GradientError: no gradient reaches the images: some layer cuts it off ...
    """
    check_grad_mode()
    return GradientError(
        "no gradient reaches the images: some layer cuts it off (a threshold, a rounding, a "
        "detach, a no_grad); give that layer a surrogate backward pass (BPDA), or use an attack "
        "that needs no gradient."
    )
