"""Which way an ascent steps, given the raw gradient."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from holdfast.attacks.engine.active import Tree
from holdfast.random import Stream
from holdfast.tensors import expand, unit
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
    """The threat's own steepest ascent: sign(g) in ℓ∞, g / ‖g‖₂ in ℓ2."""

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
    """G / ‖g‖₂, and a random direction where the gradient is 0, as on a plateau."""
    grad = finite(grad)
    flat = ~grad.flatten(1).any(dim=1)
    if flat.any():
        grad = torch.where(expand(flat, grad), rng.normal(grad.shape[1:], grad.dtype), grad)
    return unit(grad, 2)
