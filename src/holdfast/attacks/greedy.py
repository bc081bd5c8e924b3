"""Greedy search in ℓ0: change what helps most until it fools, then undo what is not needed.

until x fools:  change the component with the largest |∂ value| · (room in the box)
afterwards:     undo the change with the least ∂ value · (change); where x no longer fools, drive
the others into the corner that the gradient points to, and ask again;
where that is not enough, put it back, and take the next
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.confirmation import confirmed
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.onward import Onward
from holdfast.attacks.engine.roles import EarlyStop
from holdfast.errors import InputError
from holdfast.goals import margin
from holdfast.gradients import autograd
from holdfast.parameters import at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.tensors import expand
from holdfast.threat import finite
from holdfast.types import (
    Callback,
    Flags,
    Goal,
    Gradient,
    Images,
    Labels,
    Model,
    Score,
    Step,
    Threat,
)

__all__ = ["Greedy"]


@ATTACKS.named("greedy")
@dataclass(frozen=True, kw_only=True)
class Greedy(Onward):
    """Change components one by one until the image fools, then undo those that it can do without.

    What is returned fools no longer when any one change is undone, as far as ``steps`` allow.

    Attributes:
        threat: an ℓ0 ball; points beyond its eps, which may be infinite, do not count.
        steps: number of iterations, at least 1; each costs one gradient.
        goal: what to ascend.
        gradient: how to estimate its gradient.
        early_stop: stop an image at the first point found within the threat's eps.

    Raises:
        InputError: if the threat is not ℓ0, or steps is below 1.

    Reference:
        The first half is one component at a time of Papernot et al., "The limitations of deep
        learning in adversarial settings", EuroS&P 2016, with the gradient of the goal in place of
        their saliency map.

    Example:
        >>> from holdfast import L0
        >>> from holdfast.attacks import Greedy
        >>> x_adv = Greedy(L0(float("inf")), steps=60)(model, x, y)
        >>> bool((model(x_adv).argmax(dim=1) != y).all())
        True
    """

    counts_components: ClassVar[bool] = True

    threat: Threat = field(kw_only=False)
    steps: int = 200
    goal: Goal = margin
    gradient: Gradient = autograd
    early_stop: EarlyStop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threat.p != 0:
            raise InputError(
                f"Greedy is for l0, not {self.threat.name}: it counts components; use FMN or FAB."
            )
        at_least_one(steps=self.steps)

    def onward(
        self,
        model: Model,
        x0: Images,
        start: Images,
        y: Labels,
        rng: Stream,
        callback: Callback | None = None,
    ) -> Images:
        """Add, then undo; see `Onward.onward`."""
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        closest = Closest(x0, self.threat.unlimited())
        at = _Search(start, x0, start, start, torch.zeros_like(start, dtype=torch.bool), score, rng)
        for step in range(self.steps):
            slope = self.gradient(at.score)(at.z, at.rng.fold("step", step), step / self.steps)
            if callback is not None:
                callback(Step(step, at.position, at.z, *slope))
            closest.offer(at.z, slope.reached, at.position)
            open_ = at.turn(finite(slope.grad), slope.reached)
            at.keep(open_ & closest.improvable(self.threat, self.early_stop)[at.position])
            if not len(at):
                break
        return confirmed(model, score, closest, self.threat, rng)


@dataclass(eq=False)
class _Search(Active):
    """Where each image is: the point that fools, and the one that is asked about next."""

    x: Images  # fools, once any point has
    x0: Images
    z: Images
    grad: Images  # at x
    tried: Bool[Tensor, "n *image"]  # undone in x, in vain
    score: Score
    rng: Stream
    fools: Flags | None = None  # whether x does
    driven: Flags | None = None  # whether z is in the corner already
    undone: Int[Tensor, " n"] | None = None  # the component of x that z is without

    def turn(self, grad: Images, reached: Flags) -> Flags:
        """The next points to ask about, from the gradient at ``z``; which images have one."""
        none = torch.zeros_like(reached)
        fools, driven = (none if flag is None else flag for flag in (self.fools, self.driven))
        undone = torch.zeros_like(self.position) if self.undone is None else self.undone
        corner = self._corner(grad)
        retry = ~reached & fools & ~driven & (corner != self.z).flatten(1).any(dim=1)
        failed = ~reached & fools & ~retry
        tried = self.tried.flatten(1).clone()
        tried[failed, undone[failed]] = True
        tried[reached] = False
        self.tried = tried.view_as(self.tried)
        self.x = torch.where(expand(reached, grad), self.z, self.x)
        self.grad = torch.where(expand(reached, grad), grad, self.grad)
        self.fools = fools | reached
        less, weakest, open_ = self._without_weakest()
        z = torch.where(expand(self.fools, grad), less, self._with_strongest(grad))
        self.z = torch.where(expand(retry, grad), corner, z)
        self.undone = torch.where(retry, undone, weakest)
        self.driven = retry
        return open_ | retry | ~self.fools

    def _corner(self, grad: Images) -> Images:
        """``z`` with all its changes as large as the box allows, along the gradient."""
        moves = (self.z != self.x0) & (grad != 0)
        return torch.where(moves, (grad > 0).to(grad), self.z).to(self.z)

    def _with_strongest(self, grad: Images) -> Images:
        """``z`` with one more component in its corner: the one that promises most."""
        room = torch.where(grad > 0, 1 - self.z, self.z)
        gain = torch.where(self.z == self.x0, grad.abs() * room, -1).flatten(1)
        chosen = gain.argmax(dim=1, keepdim=True)
        corner = (grad > 0).to(self.z).flatten(1).gather(1, chosen)
        return self.z.flatten(1).scatter(1, chosen, corner).view_as(self.z)

    def _without_weakest(self) -> tuple[Images, Int[Tensor, " n"], Flags]:
        """``x`` without the change that matters least, which that is, and whether there is one."""
        left = ((self.x != self.x0) & ~self.tried).flatten(1)
        loss = (self.grad * (self.x - self.x0)).flatten(1).masked_fill(~left, torch.inf)
        weakest = loss.argmin(dim=1, keepdim=True)
        clean = self.x0.flatten(1).gather(1, weakest)
        less = self.x.flatten(1).scatter(1, weakest, clean).view_as(self.x)
        return less, weakest[:, 0], left.any(dim=1)
