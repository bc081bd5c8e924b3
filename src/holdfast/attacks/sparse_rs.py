"""Sparse-RS in ℓ0: random search over which few components change, by the model's scores alone.

    M ← k random components, each in a random corner of the box
    repeat:  A ⊂ M, B outside of M, |A| = |B| = max(α k, 1), at random
             M' ← M without A, with B in random corners, A as in the image
             M ← M' if the score is higher there

`SparseRS` is the attack; `SparseSearch` is one run of it.
"""

import bisect
import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.preset import Preset
from holdfast.attacks.engine.random_search import Best, RandomSearch
from holdfast.attacks.engine.repeat import repeated
from holdfast.attacks.engine.roles import EarlyStop, Votes
from holdfast.errors import InputError
from holdfast.goals import margin
from holdfast.types import Goal, Images, Threat

__all__ = ["SparseRS", "SparseSearch"]

#: Of 10,000 exchanges, those after which α is its first value over the next of `_DIVISORS`.
_FALLS = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_DIVISORS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)


@dataclass(frozen=True, kw_only=True)
class SparseSearch(RandomSearch[Best]):
    """One run of Sparse-RS; `SparseRS` says more.

    Attributes:
        threat: an ℓ0 ball, with a finite ε.
        queries: most forward passes for each image, at least 1.
        alpha_init: fraction of the changes that the first exchange concerns, in (0, 1].
        goal: what to ascend.
        early_stop: an image stops at the first point that reaches the goal and costs nothing more;
            otherwise all queries are spent on raising the score.

    Example:
        >>> from holdfast import L0
        >>> from holdfast.attacks import Restarts, SparseSearch
        >>> search = SparseSearch(threat=L0(5), queries=20, alpha_init=0.3)
        >>> x_adv = Restarts(search, count=2)(model, x, y, seed=0)
        >>> bool(((x_adv != x).flatten(1).sum(dim=1) <= 5).all())
        True
    """

    norms: ClassVar[tuple[str, ...]] = ("l0",)

    alpha_init: float
    goal: Goal = margin
    early_stop: EarlyStop = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if math.isinf(self.threat.eps):
            raise InputError(
                "the threat has no limit, but Sparse-RS changes as many components as it allows: "
                "give a finite eps, or use sigma-zero or salt-and-pepper for the fewest."
            )
        if not 0 < self.alpha_init <= 1:
            raise InputError(
                f"alpha_init is {self.alpha_init}, but a fraction of the changes lies in (0, 1]."
            )

    def begin(self, at: Best) -> Best:
        """The components in a random order, of which the first k change; see `RandomSearch`."""
        order = at.rng.fold("order").uniform((at.x0[0].numel(),)).argsort(dim=1)
        at.memory = order
        return at

    def propose(self, at: Best, i: int) -> tuple[Images, Int[Tensor, "n components"]]:
        """The first k in random corners, then some exchanged for others; see `RandomSearch`."""
        order = at.memory
        assert order is not None
        components, rng = order.shape[1], at.rng.fold("sparse", i)
        k = min(int(self.threat.eps), components)
        x, x0 = at.x.flatten(1), at.x0.flatten(1)
        if i == 1:
            first = order[:, :k]
            new = x0.scatter(1, first, _corner(x0.gather(1, first), rng.uniform((k,))))
            return new.view_as(at.x), order
        count = self._exchanged(i, k, components - k)
        draw = rng.uniform((3, count))
        leave = _subset(draw[:, 0], k)
        take = k + _subset(draw[:, 1], components - k) if k < components else leave
        left, taken = order.gather(1, leave), order.gather(1, take)
        new = x.scatter(1, left, x0.gather(1, left))
        new = new.scatter(1, taken, _corner(x0.gather(1, taken), draw[:, 2]))
        return new.view_as(at.x), order.scatter(1, leave, taken).scatter(1, take, left)

    def _exchanged(self, i: int, k: int, others: int) -> int:
        """|A| = |B| of query ``i``; the schedule is stretched to the budget."""
        of_10_000 = (i - 1) * 10_000 // self.queries
        alpha = self.alpha_init / _DIVISORS[bisect.bisect_left(_FALLS, of_10_000)]
        return min(max(int(alpha * k), 1), k, others or k)


def _corner(x0: Float[Tensor, "n k"], draw: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """0 or 1 at random, but never what the image has there: that would change nothing."""
    return torch.where((x0 > 0) & (x0 < 1), draw < 0.5, x0 <= 0).to(x0)


def _subset(draw: Float[Tensor, "n count"], size: int) -> Int[Tensor, "n count"]:
    """A uniform subset of {0, ..., size - 1} for each image, from one number for each element.

    Robert Floyd's: the j-th is drawn from the first size - count + j + 1; one that is there already
    gives its place to the last of these, which cannot be.
    """
    chosen = torch.empty_like(draw, dtype=torch.int64)
    for j, last in enumerate(range(size - draw.shape[1], size)):
        one = (draw[:, j] * (last + 1)).long().clamp(max=last)
        twice = (chosen[:, :j] == one[:, None]).any(dim=1)
        chosen[:, j] = torch.where(twice, last, one)
    return chosen


@ATTACKS.named("sparse-rs")
@dataclass(frozen=True, kw_only=True)
class SparseRS(Preset):
    """Sparse-RS: exchange changed components at random where it raises the score; no gradient.

    The first query is the clean image, the second k components in random corners of the box; the
    exchanges shrink from a fraction ``alpha_init`` of the k on a schedule that is stretched to the
    number of queries.

    Differs from the authors' code in what counts: a component, where theirs is a pixel with all its
    colours. A corner in which the image is already is not drawn, since it would change nothing.

    When:
        In ℓ0, as a check on gradients, of which it asks none: if it breaks what σ-zero leaves, they
        are misled. It breaks much by itself, where the ball allows more than a few components.

    When not:
        For the fewest components: `SigmaZero`, `SaltAndPepper`. With few queries.

    Traps:
        It changes as many components as the ball allows, whether they are needed or not. The
        schedule is stretched to ``queries``, so the first 1,000 of 5,000 are not an attack of
        1,000. A stochastic model must be asked for mean scores, which the evaluator sees to and a
        call of one's own does not.

    Attributes:
        threat: an ℓ0 ball, with a finite ε.
        queries: most forward passes for each image, at least 1, in each run.
        alpha_init: fraction of the changes that the first exchange concerns, in (0, 1].
        restarts: runs with fresh randomness, each on the images that the earlier ones left
            robust; between two runs one more query says which those are.
        goal: what to ascend; the margin, as in the authors' code, or any targeted one.
        early_stop: an image stops at the first point that reaches the goal and costs nothing more;
            otherwise all queries are spent on raising the score.
        votes: see `Restarts`.

    Raises:
        InputError: if the threat is not ℓ0 or has no limit, or a number is out of its range.

    Reference:
        Croce et al., "Sparse-RS: a versatile framework for query-efficient sparse black-box
        adversarial attacks", AAAI 2022; as the authors' code has it for ℓ0.

    Example:
        >>> from holdfast import L0
        >>> from holdfast.attacks import SparseRS
        >>> x_adv = SparseRS(L0(5), queries=50)(model, x, y, seed=0)  # asks for scores alone
        >>> bool(((x_adv != x).flatten(1).sum(dim=1) <= 5).all())
        True
    """

    follows_gradients: ClassVar[bool] = False
    norms: ClassVar[tuple[str, ...]] = ("l0",)

    threat: Threat = field(kw_only=False)
    queries: int = 5000
    alpha_init: float = 0.3
    restarts: int = 1
    goal: Goal = margin
    early_stop: EarlyStop = True
    votes: Votes = field(default=1, repr=False)

    def engine(self) -> Climb:
        """A search, and again."""
        search = SparseSearch(
            threat=self.threat,
            queries=self.queries,
            alpha_init=self.alpha_init,
            goal=self.goal,
            early_stop=self.early_stop,
        )
        return repeated(search, self.restarts, self.votes)
