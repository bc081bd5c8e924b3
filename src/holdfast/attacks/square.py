"""Square attack: random search with square changes, by the model's scores alone.

    x ← a start on the surface of the ball: stripes in ℓ∞, tiles in ℓ2
    repeat:  x' ← x with a random square changed, again on the surface
             x ← x' if the score is higher there

`Square` is the attack; `SquareSearch` is one run of it.
"""

import bisect
import math
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.preset import Preset
from holdfast.attacks.engine.random_search import Best, RandomSearch
from holdfast.attacks.engine.repeat import repeated
from holdfast.attacks.engine.roles import EarlyStop, Votes
from holdfast.errors import InputError
from holdfast.goals import margin
from holdfast.random import Stream
from holdfast.tensors import expand, planes, unit
from holdfast.types import Goal, Images, Threat

__all__ = ["Square", "SquareSearch"]

#: Of 10,000 squares, those after which the fraction of the image that a square covers is halved.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)

#: Queries whose few numbers are drawn together: what a draw costs is that it begins.
_DRAWN_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class SquareSearch(RandomSearch["_Points"]):
    """One run of the Square attack; `Square` says more.

    Attributes:
        threat: the ball to stay in, ℓ∞ or ℓ2.
        queries: most forward passes for each image, at least 1.
        p_init: fraction of the image that the first square covers, in (0, 1].
        goal: what to ascend.
        early_stop: an image stops at the first point that reaches the goal and costs nothing more;
            otherwise all queries are spent on raising the score.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import Restarts, SquareSearch
        >>> search = SquareSearch(threat=Linf(0.3), queries=20, p_init=0.8)
        >>> x_adv = Restarts(search, count=2)(model, x, y, seed=0)
        >>> bool((x_adv - x).abs().max() <= 0.3)
        True
    """

    p_init: float
    goal: Goal = margin
    early_stop: EarlyStop = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threat.name not in ("linf", "l2"):
            raise InputError(
                f"the threat's norm is {self.threat.name}, but squares are drawn in linf or l2."
            )
        if not 0 < self.p_init <= 1:
            raise InputError(
                f"p_init is {self.p_init}, but a fraction of the image lies in (0, 1]."
            )

    def begin(self, at: Best) -> "_Points":
        """The ends of the cube, and the first random numbers; see `RandomSearch.begin`."""
        return _Points(**at.known(), ends=self._ends(at.x0), draws=_drawn(at.x0, at.rng, 0))

    def propose(self, at: "_Points", i: int) -> tuple[Images, None]:
        """The start, then the best point with a square changed; see `RandomSearch.propose`."""
        if i % _DRAWN_AT_ONCE == 0:
            at.draws = _drawn(at.x0, at.rng, i)
        image, x = planes(at.x0), planes(at.x)
        side, draw = self._side(image, i), at.draws[:, i % _DRAWN_AT_ONCE]
        if at.ends is not None:
            new = _recolour(x, *at.ends, side, draw) if i > 1 else _stripes(*at.ends, at.rng)
        else:
            reach = self.threat.reach(at.x0)
            if i == 1:
                delta = reach * unit(_tiles(image, at.rng), 2)
            else:  # odd, so that the pattern has a centre
                delta = _move(x - image, reach, max(3, side | 1), draw)
            new = self.threat.project(image + delta, image)
        return new.view_as(at.x), None

    def _ends(self, x0: Images) -> tuple[Tensor, Tensor] | None:
        """The highest and the lowest image of the cube, as planes; None in ℓ2."""
        if self.threat.name == "l2":
            return None
        image, reach = planes(x0), self.threat.reach(x0)
        return self.threat.project(image + reach, image), self.threat.project(image - reach, image)

    def _side(self, image: Tensor, i: int) -> int:
        """Side of the square of query ``i``; the schedule is stretched to the budget."""
        of_10_000 = (i - 2) * 10_000 // self.queries
        fraction = self.p_init / 2 ** bisect.bisect_left(_HALVINGS, of_10_000)
        return max(1, round(math.sqrt(fraction * image.shape[2] * image.shape[3])))


@dataclass(eq=False)
class _Points(Best):
    """Each with the limits of its squares, and with random numbers."""

    ends: tuple[Tensor, Tensor] | None  # in ℓ∞ the highest and the lowest image of the cube
    draws: Tensor  # uniform numbers, for each of the next queries


def _drawn(image: Images, rng: Stream, query: int) -> Float[Tensor, "n queries numbers"]:
    """What `_DRAWN_AT_ONCE` queries ask of chance: two places, a direction, each colour's sign."""
    _, colours, _, _ = planes(image).shape
    return rng.fold("square", query).uniform((_DRAWN_AT_ONCE, 5 + colours))


def _stripes(up: Tensor, down: Tensor, rng: Stream) -> Tensor:
    """Vertical stripes of one pixel, each colour ±ε at random."""
    _, colours, _, width = up.shape
    return torch.where(rng.fold("stripes").uniform((colours, 1, width)) < 0.5, up, down)


def _recolour(x: Tensor, up: Tensor, down: Tensor, side: int, draw: Tensor) -> Tensor:
    """Algorithm 2: all of one square to +ε or -ε, the same sign throughout a colour.

    The paper adds ±2ε and cuts to the ball, which comes to this. A square that would change nothing
    has its signs turned, so that no query is spent on the point asked before.
    """
    *_, height, width = x.shape
    square = _window(x, (min(side, height), min(side, width)), draw)
    up, down = up[square], down[square]
    positive = (draw[:, 5:] < 0.5)[:, :, None, None]
    same = (torch.where(positive, up, down) == x[square]).flatten(1).all(dim=1)
    new = x.clone()
    new[square] = torch.where(positive ^ expand(same, x), up, down)
    return new


def _start(draw: Tensor, size: int, side: int) -> Tensor:
    """Uniform in {0, ..., size - side}."""
    return (draw * (size - side + 1)).long()


def _move(delta: Tensor, eps: float, side: int, draw: Tensor) -> Tensor:
    """Algorithm 3: empty one window, and spend what it held and what was left in another."""
    _, colours, height, width = delta.shape
    size = (min(side, height), min(side, width))
    first, second = (_window(delta, size, draw[:, 2 * k : 2 * k + 2]) for k in range(2))
    left = (eps**2 - delta.square().sum(dim=(1, 2, 3))).clamp(min=0)  # ε²_unused
    emptied = delta.clone()
    emptied[first] = 0
    emptied[second] = 0
    held = (delta - emptied).square().sum(dim=(2, 3))  # ‖ν_{W1 ∪ W2, i}‖²
    available = (held + left[:, None] / colours).sqrt()  # ε_avail of each colour i
    sign = torch.where(draw[:, 5:] < 0.5, 1, -1)[:, :, None, None]
    along = (draw[:, 4] < 0.5)[:, None, None]
    pattern = torch.where(along, *_patterns(size, delta.dtype, delta.device))[:, None]  # η*
    emptied[first] = _unit(sign * pattern + _unit(delta[first])) * available[:, :, None, None]
    return emptied


def _tiles(image: Tensor, rng: Stream) -> Tensor:
    """Five by five tiles of the pattern η, each colour of each with a random sign."""
    count, colours, height, width = image.shape
    tall, wide = max(1, height // 5), max(1, width // 5)
    down, across = height // tall, width // wide
    sign = rng.fold("sign").uniform((colours, down, 1, across, 1)) < 0.5
    along = rng.fold("along").uniform((1, down, 1, across, 1)) < 0.5
    above, beside = _patterns((tall, wide), image.dtype, image.device)
    tiles = torch.where(along, above[:, None], beside[:, None])
    tiles = torch.where(sign, tiles, -tiles).view(count, colours, down * tall, across * wide)
    high, broad = height - down * tall, width - across * wide  # the rest, shared by the sides
    return functional.pad(tiles, (broad // 2, broad - broad // 2, high // 2, high - high // 2))


def _window(delta: Tensor, size: tuple[int, int], draw: Tensor) -> tuple[Tensor, ...]:
    """The index of one window in every example, all colours, at a uniform place."""
    count, colours, *image = delta.shape
    rows, columns = (
        _start(draw[:, axis], image[axis], size[axis])[:, None]
        + torch.arange(size[axis], device=delta.device)
        for axis in range(2)
    )
    example = torch.arange(count, device=delta.device)[:, None, None, None]
    colour = torch.arange(colours, device=delta.device)[:, None, None]
    return example, colour, rows[:, None, :, None], columns[:, None, None, :]


@lru_cache(maxsize=16)  # the same for many queries
def _patterns(
    size: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """η of equation 2 with norm 1: a hill and a hole, above one another and side by side."""
    tall, wide = size
    hill = partial(_hill, dtype=dtype, device=device)
    above = torch.cat([hill(tall // 2, wide), -hill(tall - tall // 2, wide)], dim=0)
    beside = torch.cat([hill(tall, wide // 2), -hill(tall, wide - wide // 2)], dim=1)
    return above / above.norm(), beside / beside.norm()


def _hill(tall: int, wide: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Σ_k 1 / (k + 1)² over the squares, k = 0 ... n around the centre, that hold the pixel."""
    n = max(tall, wide) // 2
    ring = 1 / torch.arange(1, n + 2, dtype=dtype, device=device).square()
    height = ring.flip(0).cumsum(0).flip(0)
    rows, columns = ((torch.arange(side, device=device) - side // 2).abs() for side in (tall, wide))
    return height[torch.maximum(rows[:, None], columns)]


def _unit(windows: Tensor) -> Tensor:
    """Every colour's window at ℓ2 norm 1."""
    return unit(windows.flatten(0, 1), 2).view_as(windows)


@ATTACKS.named("square")
@dataclass(frozen=True, kw_only=True)
class Square(Preset):
    """Square attack: keep a random square of ±ε where it raises the score; no gradient.

    The first query is the clean image, the second the start; the squares shrink from a fraction
    ``p_init`` of the image, halved on a schedule that is stretched to the number of queries.

    Differs from the paper in ℓ∞ where a square would change nothing: its signs are turned, instead
    of asking the same point again. Squares are cut to images of any shape; a vector is an image of
    one line.

    When:
        As a check on gradients, of which it asks none: if it breaks what gradient attacks leave,
        they are misled.

    When not:
        With few queries: it needs thousands. In ℓ1 and ℓ0 it is not defined here: `FMN`,
        `SparseRS`.

    Traps:
        The schedule of the squares is stretched to ``queries``, so the first 1,000 of 5,000 are not
        an attack of 1,000. A stochastic model must be asked for mean scores, which the evaluator
        sees to and a call of one's own does not.

    Attributes:
        threat: the ball of size ε, ℓ∞ or ℓ2.
        queries: most forward passes for each image, at least 1, in each run.
        p_init: fraction of the image that the first square covers, in (0, 1]; 0.8 as in AutoAttack,
            0.05 (ℓ∞) and 0.1 (ℓ2) in the paper.
        restarts: runs with fresh randomness, each on the images that the earlier ones left
            robust; between two runs one more query says which those are.
        goal: what to ascend; the margin, as in the paper, or any targeted one.
        early_stop: an image stops at the first point that reaches the goal and costs nothing more;
            otherwise all queries are spent on raising the score.
        votes: see `Restarts`.

    Raises:
        InputError: if the norm is neither ℓ∞ nor ℓ2, or a number is out of its range.

    Reference:
        Andriushchenko et al., "Square attack: a query-efficient black-box adversarial attack via
        random search", ECCV 2020, algorithms 1 to 3; the schedule as in the authors' code.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import Square
        >>> x_adv = Square(Linf(0.3), queries=50)(model, x, y, seed=0)  # asks for scores alone
        >>> bool((x_adv - x).abs().max() <= 0.3)
        True
    """

    follows_gradients: ClassVar[bool] = False
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    threat: Threat = field(kw_only=False)
    queries: int = 5000
    p_init: float = 0.8
    restarts: int = 1
    goal: Goal = margin
    early_stop: EarlyStop = True
    votes: Votes = field(default=1, repr=False)

    def engine(self) -> Climb:
        """A search, and again."""
        search = SquareSearch(
            threat=self.threat,
            queries=self.queries,
            p_init=self.p_init,
            goal=self.goal,
            early_stop=self.early_stop,
        )
        return repeated(search, self.restarts, self.votes)
