"""Which way an ascent steps, given the raw gradient."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from holdfast.attacks.engine.active import Tree
from holdfast.random import Stream
from holdfast.tensors import expand, norm, unit
from holdfast.threat import finite
from holdfast.types import Images, Threat

__all__ = ["Momentum", "steepest"]


@runtime_checkable
class Direction(Protocol):
    """(gradient, memory, threat, step) -> (direction of norm 1, memory).

    ``memory`` is any tree of tensors with a row for each example, and None at first; the ascent
    carries it from step to step, and drops the rows of the examples that it drops. Steps are
    counted from 0.
    """

    def __call__(
        self, grad: Images, memory: Tree, threat: Threat, step: int
    ) -> tuple[Images, Tree]:
        """The direction to step in, and what to remember."""
        ...


@dataclass(frozen=True, repr=False)
class Steepest:
    """The threat's own steepest ascent: sign(g) in ℓ∞, g / ‖g‖₂ in ℓ2.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import steepest
        >>> direction, _ = steepest(torch.tensor([[3.0, 4.0]]), None, L2(1.0), 0)
        >>> direction
        tensor([[0.6000, 0.8000]])
    """

    def __call__(
        self, grad: Images, memory: Tree, threat: Threat, step: int
    ) -> tuple[Images, Tree]:
        """The direction along ``grad``."""
        return threat.steepest(grad), memory

    def __repr__(self) -> str:
        return "steepest"


steepest = Steepest()


@dataclass(frozen=True)
class Momentum:
    """Along the accumulated gradient: v ← μ · v + g / ‖g‖₁, then the steepest direction of v.

    The raw gradient is accumulated; a sign, if the threat takes one, is taken of the sum.

    Attributes:
        decay: μ >= 0; 1 in the paper.

    Reference:
        Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018, algorithm 1.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import Momentum
        >>> along = Momentum(1.0)
        >>> _, velocity = along(torch.tensor([[1.0, -1.0]]), None, Linf(0.1), 0)
        >>> direction, _ = along(torch.tensor([[-0.1, 0.0]]), velocity, Linf(0.1), 1)
        >>> direction  # the first pixel's gradient cancels what it was
        tensor([[-1., -1.]])
    """

    decay: float = 1.0

    def __call__(
        self, grad: Images, memory: Tree, threat: Threat, step: int
    ) -> tuple[Images, Tree]:
        """The direction along the accumulated gradient."""
        velocity = unit(finite(grad), 1)
        if memory is not None:
            velocity = velocity + self.decay * memory
        return threat.steepest(velocity), velocity


def uphill(grad: Images, rng: Stream) -> Images:
    """G / ‖g‖₂, and a random direction where the gradient is 0, as on a plateau.

    Example:
        >>> from holdfast.attacks.engine.directions import uphill
        >>> from holdfast.random import Stream
        >>> uphill(torch.zeros(1, 1, 8, 8), Stream.of(0, torch.arange(1))).norm().round(decimals=3)
        tensor(1.)
    """
    grad = finite(grad)
    flat = norm(grad, torch.inf) == 0
    if flat.any():
        grad = torch.where(expand(flat, grad), rng.normal(grad.shape[1:], grad.dtype), grad)
    return unit(grad, 2)
