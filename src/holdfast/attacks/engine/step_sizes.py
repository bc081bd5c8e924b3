"""How an adaptive ascent moves and when it shortens its steps, for every example on its own.

`Halving` is APGD in ℓ∞ and ℓ2, `Sparsifying` is APGD in ℓ1; `Annealing` is for few steps. What they
remember of each example is a tuple of rows, which the ascent carries.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from holdfast.attacks.engine.active import Tree
from holdfast.tensors import expand, norm
from holdfast.threat import finite
from holdfast.types import Balls, Flags, Images, PerExample, Threat

#: α: the fraction of a move that the gradient decides.
MOMENTUM = 0.75


class Best(NamedTuple):
    """The point of the largest score so far, of every example."""

    x: Images
    grad: Images
    value: PerExample


@runtime_checkable
class StepSizes(Protocol):
    """Moves the iterates of an ascent."""

    def begin(self, x: Images, x0: Images) -> Tree:
        """What to remember at the first iterate."""
        ...

    def back(
        self, memory: Tree, step: int, value: PerExample, best: Best, x0: Images
    ) -> tuple[Tree, Flags | None]:
        """Learn from the values at iterate ``step``.

        Returns:
            What to remember, and which examples shall go on from their best point; None for none.
        """
        ...

    def move(
        self, memory: Tree, step: int, x: Images, grad: Images, balls: Balls
    ) -> tuple[Tree, Images]:
        """What to remember, and the next iterate."""
        ...


@dataclass(frozen=True)
class Halving:
    """Steps with momentum, halved where they stop paying (APGD algorithm 1, section 3).

        z ← Π(x_k + η · s(g)),  x_{k+1} ← Π(x_k + α · (z - x_k) + (1 - α) · (x_k - x_{k-1}))

    with the steepest step s and α = 0.75. η begins at 2 ε and is halved at a checkpoint where fewer
    than a fraction ρ = 0.75 of the steps since the last one raised the score, or where neither η
    nor the best score have changed since then.

    Attributes:
        threat: the ball.
        steps: of the whole ascent.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks.engine.step_sizes import Halving
        >>> Halving(Linf(0.3), steps=100).begin(x, x).size  # η = 2 ε
        tensor([0.6000, 0.6000, 0.6000, 0.6000])
    """

    threat: Threat
    steps: int
    RHO: ClassVar[float] = 0.75

    def begin(self, x: Images, x0: Images) -> "_Halving":
        """η = 2 ε, and no value so far."""
        low = torch.full((len(x),), -torch.inf, device=x.device)
        return _Halving(
            previous=x,
            size=x.new_full((len(x),), 2 * self.threat.reach(x)),
            rises=torch.zeros(len(x), dtype=torch.int64, device=x.device),
            value=-low,
            record=low,
            halved=torch.zeros_like(low, dtype=torch.bool),
        )

    def back(
        self, memory: "_Halving", step: int, value: PerExample, best: Best, x0: Images
    ) -> tuple["_Halving", Flags | None]:
        """Halve the steps that stopped paying; those examples go back to their best point."""
        rises, since = memory.rises + (value > memory.value), checkpoints(self.steps)
        if step not in since:
            return memory._replace(rises=rises, value=value), None
        halved = rises < self.RHO * since[step]  # condition 1
        halved |= ~memory.halved & (best.value == memory.record)  # condition 2
        memory = memory._replace(
            size=torch.where(halved, memory.size / 2, memory.size),
            rises=torch.zeros_like(rises),
            value=torch.where(halved, best.value, value),
            record=best.value,
            halved=halved,
        )
        return memory, halved

    def move(
        self, memory: "_Halving", step: int, x: Images, grad: Images, balls: Balls
    ) -> tuple["_Halving", Images]:
        """One step with momentum, projected twice."""
        size = expand(memory.size, x)
        moved = _with_momentum(self.threat, x, memory.previous, size, grad, balls, step)
        return memory._replace(previous=x), moved


@dataclass(frozen=True)
class Annealing:
    """The same steps, shortened whatever happens: η = ε · (1 + cos(π · k / steps)) at step k.

    On small adversarially trained networks, with 10 to 50 steps, it reaches larger scores than
    `Halving` in ℓ2 and as large ones in ℓ∞.

    Args:
        threat: the ball.
        x: (N, C, H, W) the first iterate.
        steps: of the whole ascent.

    Reference:
        Ma et al., "Imbalanced gradients: a subtle cause of overestimated adversarial robustness",
        2020, for the schedule.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks.engine.step_sizes import Annealing
        >>> sizes = Annealing(Linf(0.3), steps=10)
        >>> _, moved = sizes.move(x, 0, x, torch.ones_like(x), Linf(0.3).around(x))
        >>> bool((moved >= x).all())
        True
    """

    threat: Threat
    steps: int

    def begin(self, x: Images, x0: Images) -> Images:
        """The iterate before, for the momentum."""
        return x

    def back(
        self, memory: Images, step: int, value: PerExample, best: Best, x0: Images
    ) -> tuple[Images, Flags | None]:
        """Nobody goes back."""
        return memory, None

    def move(
        self, memory: Images, step: int, x: Images, grad: Images, balls: Balls
    ) -> tuple[Images, Images]:
        """One step with momentum, projected twice."""
        size = self.threat.reach(x) * (1 + math.cos(math.pi * step / self.steps))
        return x, _with_momentum(self.threat, x, memory, size, grad, balls, step)


@dataclass(frozen=True)
class Sparsifying:
    """Steps on the pixels of the largest gradients, fewer and fewer of them (ℓ1-APGD, section 3).

        x ← Π(x + η · s / ‖s‖₁),  s = sign(g) on the k largest |g| and 0 elsewhere

    At every checkpoint k becomes ‖x_best - x0‖₀ / 1.5. Where that support has shrunk below 0.95 of
    what it was, η returns to ε and the example to its best point; elsewhere η is divided by 1.5,
    down to ε / 10.

    Attributes:
        threat: the ℓ1 ball.
        steps: of the whole ascent.

    Example:
        >>> from holdfast import L1
        >>> from holdfast.attacks.engine.step_sizes import Sparsifying
        >>> sizes = Sparsifying(L1(5.0), steps=10)
        >>> _, moved = sizes.move(
        ...     sizes.begin(x, x), 0, x, torch.randn_like(x), L1(5.0).around(x)
        ... )
        >>> bool((moved != x).flatten(1).any(dim=1).all()), bool((moved == x).any())
        (True, True)
    """

    threat: Threat
    steps: int

    def begin(self, x: Images, x0: Images) -> "_Sparsifying":
        """η = ε, and the support of the first iterate."""
        everywhere = x[0].numel()
        support = norm(x - x0, 0)
        support = torch.where(support > 0, support, everywhere)  # the image itself says nothing
        return _Sparsifying(
            size=x.new_full((len(x),), self.threat.reach(x)),
            pixels=(support / 1.5).clamp(max=0.2 * everywhere),
            support=support,
        )

    def back(
        self, memory: "_Sparsifying", step: int, value: PerExample, best: Best, x0: Images
    ) -> tuple["_Sparsifying", Flags | None]:
        """Choose sparsity and length anew; where the best point got sparser, go back to it."""
        if step == 0 or step % -(-self.steps // 25):
            return memory, None
        longest, support = self.threat.reach(x0), norm(best.x - x0, 0)
        sparser = support < 0.95 * memory.support
        shorter = (memory.size / 1.5).clamp(min=longest / 10)
        size = torch.where(sparser, longest, shorter)
        return _Sparsifying(size=size, pixels=support / 1.5, support=support), sparser

    def move(
        self, memory: "_Sparsifying", step: int, x: Images, grad: Images, balls: Balls
    ) -> tuple["_Sparsifying", Images]:
        """One sparse step, projected."""
        flat = finite(grad).flatten(1)
        size = flat.abs()
        last = memory.pixels.ceil().long().clamp(1, size.shape[1]) - 1
        least = size.sort(dim=1, descending=True).values.gather(1, last[:, None])
        along = flat.sign().masked_fill_(size < least, 0)
        length = memory.size / norm(along, 1).clamp(min=1)
        return memory, balls.project(x + (length[:, None] * along).view_as(x))


@cache
def checkpoints(steps: int) -> dict[int, int]:
    """Where APGD looks back: w_j = ⌈p_j · steps⌉, each with the steps since the one before.

    p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06), in whole hundredths here,
    so that rounding moves no checkpoint.

    Reference:
        Croce and Hein 2020, section 3.

    Example:
        >>> from holdfast.attacks.engine.step_sizes import checkpoints
        >>> list(checkpoints(100))
        [22, 41, 57, 70, 80, 87, 93, 99]
    """
    found: dict[int, int] = {}
    fraction, gap, last = 22, 22, 0
    while fraction < 100:
        here = -(-fraction * steps // 100)
        if here > last:  # with few steps several fall together
            found[here], last = here - last, here
        gap = max(gap - 3, 6)
        fraction += gap
    return found


class _Halving(NamedTuple):
    previous: Images  # the iterate before
    size: PerExample  # η
    rises: Int[Tensor, " n"]  # steps since the last checkpoint that raised the score
    value: PerExample  # at the last iterate
    record: PerExample  # the best value at the last checkpoint
    halved: Bool[Tensor, " n"]  # whether η was halved there


class _Sparsifying(NamedTuple):
    size: PerExample  # η
    pixels: Float[Tensor, " n"]  # k
    support: PerExample  # ‖x_best - x0‖₀ at the last checkpoint


def _with_momentum(
    threat: Threat,
    x: Images,
    previous: Images,
    size: Tensor | float,
    grad: Images,
    balls: Balls,
    step: int,
) -> Images:
    """A step of ``size`` along the gradient, and from the second on a fraction of the last move."""
    z = balls.project(x + size * threat.steepest(grad))
    if step == 0:
        return z
    return balls.project(torch.lerp(x, z, MOMENTUM) + (1 - MOMENTUM) * (x - previous))
