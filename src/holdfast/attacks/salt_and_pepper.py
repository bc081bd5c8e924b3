"""Salt and pepper noise: random pixels turned white or black, as few as fool the model."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.queries import query
from holdfast.attacks.engine.roles import EarlyStop
from holdfast.errors import InputError
from holdfast.goals import margin
from holdfast.parameters import at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.tensors import planes, widest
from holdfast.types import Callback, Goal, Images, Labels, Model, PerExample, Score, Step, Threat

__all__ = ["SaltAndPepper"]


@ATTACKS.named("salt-and-pepper")
@dataclass(frozen=True, kw_only=True)
class SaltAndPepper(Attack):
    """Salt and pepper noise, the closest that fools, of at most ρ·H·W pixels.

        x_m = x but for s_i at its pixels π_1 ... π_m,  s_i = 0 or 1;  min ‖x_m - x‖ that fools

    over draws of the order π and the noise s.
    One draw puts the pixels in a random order and makes each salt (1) or pepper (0), in all its
    channels at once; x_m has the first m of them. Its distance from the image grows with m in every
    norm, so bisection finds where x_m begins to fool. The next draw asks the largest m that would
    be closer than what has been found; until something has been found, a random m.

    In ℓ0 a pixel counts as often as the noise changes a channel of it.

    When:
        As a floor: what falls to it falls to noise.

    When not:
        As a measure of robustness: what stands against noise may fall to one gradient.

    Traps:
        At most ρ·H·W pixels change, so the number hangs on ``fraction`` and on the queries. In ℓ0 a
        black pixel that turns to pepper costs nothing, and one pixel of a colour image costs up to
        three.

    Attributes:
        threat: measures the distance; points beyond its ``eps`` do not count.
        fraction: ρ, of the pixels that may change, in (0, 1]; in MALADE 0.25, with T = 5000.
        queries: most forward passes for each image, at least 1; the first is the clean image.
        goal: what to reach.
        early_stop: stop an image at the first point found within the threat's ``eps``.

    Raises:
        InputError: if fraction or queries is out of its range.

    Reference:
        Srinivasan et al., "Robustifying models against adversarial attacks by Langevin dynamics",
        2018 (MALADE), sections 2.1 and 4.2.

    Example:
        >>> from holdfast import L1
        >>> from holdfast.attacks import SaltAndPepper
        >>> x_adv = SaltAndPepper(L1(float("inf")), queries=50)(model, x, y, seed=0)
        >>> changed = x_adv[x_adv != x]
        >>> bool(((changed == 0) | (changed == 1)).all())
        True
    """

    follows_gradients: ClassVar[bool] = False
    finds_smallest: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0")

    threat: Threat = field(kw_only=False)
    fraction: float = 1.0
    queries: int = 1000
    goal: Goal = margin
    early_stop: EarlyStop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.fraction <= 1:
            raise InputError(
                f"fraction is {self.fraction}, but a fraction of the pixels is in (0, 1]."
            )
        at_least_one(queries=self.queries)

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Draw noise, bisect its amount, and draw again; see `Attack.perturb`."""
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        closest = Closest(x0, self.threat)
        pixels = math.prod(planes(x0).shape[2:])
        rank = torch.zeros((len(x0), pixels), dtype=torch.int64, device=x0.device)
        none = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
        at = _Draws(x0, rank, torch.zeros_like(rank, dtype=x0.dtype), none, none, score, rng)
        for i in range(self.queries):
            fresh = at.high - at.low <= 1  # x_high is the first of its draw, or there is none
            amount = torch.where(fresh, 0, (at.low + at.high) // 2)
            (new,) = torch.nonzero(fresh, as_tuple=True)
            if i > 0 and len(new):
                stream = at.rng.take(new)
                order, at.noise[new] = _draw(pixels, stream.fold("noise", i), x0.dtype)
                at.rank[new] = order.argsort(dim=1)
                best = closest.distance[at.position[new]]
                largest = self._largest(at.x0[new], order, at.noise[new], best)
                fraction = 1 - stream.fold("amount", i).uniform(())
                amount[new] = torch.where(
                    best.isfinite(), largest, (fraction * largest).ceil().long()
                )
            noisy = (at.rank < amount[:, None])[:, None]
            clean = planes(at.x0).flatten(2)
            x = torch.where(noisy, at.noise[:, None], clean).view_as(at.x0)
            value, reached = query(at.score, x, at.rng.fold("query", i))
            if callback is not None:
                callback(Step(i, at.position, x, value, None, reached))
            closest.offer(x, reached, at.position)
            at.low = torch.where(fresh, 0, torch.where(reached, at.low, amount))
            at.high = torch.where(reached, amount, torch.where(fresh, 0, at.high))
            at.keep(closest.improvable(self.threat, self.early_stop)[at.position])
            if not len(at):
                break
        return closest.image

    def _largest(
        self, x0: Images, order: Int[Tensor, "n p"], noise: Float[Tensor, "n p"], best: PerExample
    ) -> Int[Tensor, " n"]:
        """The largest m for which x_m is closer than ``best`` and allowed."""
        wide = widest(x0.device)
        change = (noise[:, None].to(wide) - planes(x0).flatten(2).to(wide)).abs()
        change = change.gather(2, order[:, None].expand_as(change))
        if math.isinf(self.threat.p):
            distance = change.amax(dim=1).cummax(dim=1).values
        elif self.threat.p == 0:
            distance = (change > 0).sum(dim=1).cumsum(dim=1)
        else:
            distance = change.pow(self.threat.p).sum(dim=1).cumsum(dim=1).pow(1 / self.threat.p)
        fits = (distance <= self.threat.eps) & (distance < best[:, None])
        return fits.sum(dim=1).clamp(max=math.floor(self.fraction * noise.shape[1] + 1e-9))


@dataclass(eq=False)
class _Draws(Active):
    """One draw of noise for each example, and how much of it is known to fool."""

    x0: Images
    rank: Int[Tensor, "n p"]  # of each pixel in the random order
    noise: Float[Tensor, "n p"]  # 0 or 1
    low: Int[Tensor, " n"]  # x_low does not fool
    high: Int[Tensor, " n"]  # x_high does; 0 where nothing does
    score: Score
    rng: Stream


def _draw(
    pixels: int, rng: Stream, dtype: torch.dtype
) -> tuple[Int[Tensor, "n p"], Float[Tensor, "n p"]]:
    """A random order of the pixels, and salt or pepper for each of them."""
    draw = rng.uniform((2, pixels))
    return draw[:, 0].argsort(dim=1), (draw[:, 1] < 0.5).to(dtype)
