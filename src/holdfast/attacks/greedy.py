"""Greedy search in ℓ0: change what helps most until it fools, undo what it can, then exchange.

    until x fools:  change the component with the largest |∂ value| · (room in the box)
    afterwards:     undo the change with the least ∂ value · (change); where x no longer fools,
    drive the others into the corner that the gradient points to, and ask again;
    where that is not enough, put it back, and take the next
    at last:        from the point with one change less that came nearest to fooling, undo a change
    and make another, first where the gradient promises most; go on from what comes nearer

Each image is searched by itself.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from holdfast.attacks.engine.minimum_norm import Points, Pursuit
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.roles import EarlyStop
from holdfast.goals import margin
from holdfast.gradients import autograd
from holdfast.tensors import expand
from holdfast.threat import finite
from holdfast.types import (
    Flags,
    Goal,
    Gradient,
    Images,
    PerExample,
)

__all__ = ["Greedy"]

#: Changes that an exchange may undo, the least useful ones, and components that it may change for
#: one of them, the most promising ones.
_LEAVE, _TAKE = 5, 40


@ATTACKS.named("greedy")
@dataclass(frozen=True, kw_only=True)
class Greedy(Pursuit["_Search"]):
    """Change components until the image fools, undo what it can do without, then exchange.

    What is returned fools no longer when any one change is undone, as far as ``steps`` allow. Steps
    that remain go into exchanging one change for another, until fewer fool or none is left to try.

    When:
        For few components in ℓ0, and to thin out what another attack has found.

    When not:
        Where thousands of components are needed, since each change costs a gradient: `SigmaZero`.

    Traps:
        A component is a value, not a pixel: a colour pixel counts up to three times, where other
        libraries count pixels. With too few ``steps`` what is returned can still do without some
        changes.

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

    norms: ClassVar[tuple[str, ...]] = ("l0",)

    steps: int = 200
    goal: Goal = margin
    gradient: Gradient = autograd
    early_stop: EarlyStop = False

    def begin(self, at: Points) -> "_Search":
        """Nothing is known of the start; see `Pursuit`."""
        no, image = torch.zeros_like(at.reached), at.x
        size = image[0].numel()
        return _Search(
            **at.known(),
            held=image,
            slope=image,
            tried=torch.zeros_like(image, dtype=torch.bool),
            fools=no,
            driven=no,
            undone=torch.zeros_like(at.position),
            near=image,
            near_value=torch.full_like(at.nearest, -torch.inf),
            near_slope=image,
            exchanging=no,
            exchanged=no[:, None].repeat(1, min(_LEAVE, size) * min(_TAKE, size)),
        )

    def advance(self, at: "_Search", step: int) -> None:
        """Change, undo or exchange a component; drop what is done; see `Pursuit`."""
        at.keep(at.turn())


@dataclass(eq=False)
class _Search(Points):
    """``x`` is asked about; each image also holds a point that fools, once any has."""

    held: Images
    slope: Images  # at the point held
    tried: Bool[Tensor, "n *image"]  # undone there, in vain
    fools: Flags  # whether it does
    driven: Flags  # whether x is in the corner already
    undone: Int[Tensor, " n"]  # the component of the point held that x is without
    near: Images  # of those with one change less than the point held, what came nearest to fooling
    near_value: PerExample
    near_slope: Images
    exchanging: Flags  # whether x is that, but for an exchange
    exchanged: Bool[Tensor, "n pairs"]  # there, in vain

    def turn(self) -> Flags:
        """The next points to ask about, by what is known at ``x``; which images have one."""
        grad, reached = finite(self.grad), self.reached
        missed = ~reached & self.fools
        corner = self._corner(grad)
        retry = missed & ~self.exchanging & ~self.driven & (corner != self.x).flatten(1).any(dim=1)
        failed = missed & ~self.exchanging & ~retry
        tried = self.tried.flatten(1).clone()
        tried[failed, self.undone[failed]] = True
        tried[reached] = False
        self.tried = tried.view_as(self.tried)
        self._hold(reached, grad)
        self._hold_near(missed & (self.value > self.near_value), grad)
        less, weakest, open_ = self._without_weakest()
        self.exchanging = self.fools & ~open_ & ~retry
        x = torch.where(expand(self.fools, grad), less, self._with_strongest(grad))
        if self.exchanging.any():
            other, promising = self._exchange()
            x = torch.where(expand(self.exchanging, grad), other, x)
            open_ = torch.where(self.exchanging, promising, open_)
        self.x = torch.where(expand(retry, grad), corner, x)
        self.undone = torch.where(retry, self.undone, weakest)
        self.driven = retry
        return open_ | retry | ~self.fools

    def _hold(self, reached: Flags, grad: Images) -> None:
        """``x`` where it fools: nothing is known yet of what has one change less."""
        self.held = torch.where(expand(reached, grad), self.x, self.held)
        self.slope = torch.where(expand(reached, grad), grad, self.slope)
        self.fools = self.fools | reached
        self.near_value = self.near_value.masked_fill(reached, -torch.inf)

    def _hold_near(self, nearer: Flags, grad: Images) -> None:
        """``x`` where it came nearer to fooling than all with as few changes."""
        self.near = torch.where(expand(nearer, grad), self.x, self.near)
        self.near_slope = torch.where(expand(nearer, grad), grad, self.near_slope)
        self.near_value = torch.where(nearer, self.value, self.near_value)
        self.exchanged = self.exchanged & ~nearer[:, None]

    def _corner(self, grad: Images) -> Images:
        """``x`` with all its changes as large as the box allows, along the gradient."""
        moves = (self.x != self.x0) & (grad != 0)
        return torch.where(moves, (grad > 0).to(grad), self.x).to(self.x)

    def _with_strongest(self, grad: Images) -> Images:
        """``x`` with one more component in its corner: the one that promises most."""
        room = torch.where(grad > 0, 1 - self.x, self.x)
        gain = torch.where(self.x == self.x0, grad.abs() * room, -1).flatten(1)
        chosen = gain.argmax(dim=1, keepdim=True)
        corner = (grad > 0).to(self.x).flatten(1).gather(1, chosen)
        return self.x.flatten(1).scatter(1, chosen, corner).view_as(self.x)

    def _without_weakest(self) -> tuple[Images, Int[Tensor, " n"], Flags]:
        """What is held, without its least change; which that is, and whether there is one."""
        left = ((self.held != self.x0) & ~self.tried).flatten(1)
        loss = (self.slope * (self.held - self.x0)).flatten(1).masked_fill(~left, torch.inf)
        weakest = loss.argmin(dim=1, keepdim=True)
        clean = self.x0.flatten(1).gather(1, weakest)
        less = self.held.flatten(1).scatter(1, weakest, clean).view_as(self.held)
        return less, weakest[:, 0], left.any(dim=1)

    def _exchange(self) -> tuple[Images, Flags]:
        """The most promising exchange not tried at the nearest; whether there is one."""
        near, slope, x0 = (z.flatten(1) for z in (self.near, self.near_slope, self.x0))
        changed = near != x0
        loss = (slope * (near - x0)).masked_fill(~changed, torch.inf)
        gain = slope.abs() * torch.where(slope > 0, 1 - x0, x0)
        gain = gain.masked_fill(changed | (gain == 0), -torch.inf)
        size = near.shape[1]
        lost, leave = loss.topk(min(_LEAVE, size), dim=1, largest=False)
        won, take = gain.topk(min(_TAKE, size), dim=1)
        promise = (won[:, None] - lost[:, :, None]).flatten(1)
        best, pair = promise.masked_fill(self.exchanged, -torch.inf).max(dim=1, keepdim=True)
        asked = torch.zeros_like(self.exchanged).scatter(1, pair, self.exchanging[:, None])
        self.exchanged = self.exchanged | asked  # of the others nothing is asked yet
        leave = leave.gather(1, pair // won.shape[1])
        take = take.gather(1, pair % won.shape[1])
        corner = (slope.gather(1, take) > 0).to(near)
        other = near.scatter(1, leave, x0.gather(1, leave)).scatter(1, take, corner)
        return other.view_as(self.near), best[:, 0] > -torch.inf
