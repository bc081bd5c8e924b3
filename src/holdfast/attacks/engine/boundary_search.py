"""What attacks that see only decisions share: an oracle with a budget, a start, the boundary.

All of them walk along the boundary between what reaches the goal and what does not, from a start
far away, and come closer to the clean image. They end by stepping past it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.attacks.engine import confirmation
from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.queries import query
from holdfast.attacks.engine.starts import Start
from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.recorded import recorded
from holdfast.tensors import expand
from holdfast.types import Flags, Images, Positions, Score, Threat

__all__ = ["Among", "uniform_noise"]

#: Queries that are kept, once a point is held, for stepping past: as it is and in float64.
KEPT = 2 * len(confirmation.PAST)


@dataclass(frozen=True, repr=False)
class UniformNoise:
    """Start at an image of uniform noise in the box.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import HopSkipJump, uniform_noise
        >>> HopSkipJump(L2(1.0)).start is uniform_noise  # where it begins by default
        True
    """

    def __call__(self, x0: Images, threat: Threat, rng: Stream) -> Images:
        """A fresh draw."""
        del threat
        return rng.uniform(x0.shape[1:], x0.dtype).clamp(0, 1)

    def __repr__(self) -> str:
        return "uniform_noise"


uniform_noise = UniformNoise()


@dataclass(frozen=True, eq=False, repr=False)
class Among:
    """Start at one of given images, such as images of the target class.

    Attributes:
        images: (M, C, H, W) images in [0, 1], M >= 1; each draw picks one, uniformly.

    Raises:
        InputError: if there is no image.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import Among
        >>> from holdfast.random import Stream
        >>> start = Among(torch.zeros(1, 1, 8, 8))
        >>> bool(start(x, L2(1.0), Stream.of(0, torch.arange(4))).any())
        False
    """

    images: Images

    def __post_init__(self) -> None:
        if not len(self.images):
            raise InputError("there are 0 images to start from, but a start needs at least 1.")

    def __repr__(self) -> str:
        return f"Among({recorded(self.images)})"

    def __call__(self, x0: Images, threat: Threat, rng: Stream) -> Images:
        """An image drawn afresh for each example.

        Raises:
            InputError: if the images have another shape than those attacked.
        """
        del threat
        if self.images.shape[1:] != x0.shape[1:]:
            raise InputError(
                f"the images to start from have shape {tuple(self.images.shape[1:])}, but those "
                f"attacked have shape {tuple(x0.shape[1:])}."
            )
        pick = (rng.uniform((), torch.float64) * len(self.images)).long()
        return self.images.to(x0)[pick]


class Oracle:
    """Says whether a point reaches the goal, a limited number of times; keeps the closest.

    Args:
        score: of the examples ``x0``; only its ``reached`` is looked at.
        x0: (N, C, H, W) clean images.
        threat: measures the distance.
        queries: how often it answers for each image.
        early_stop: whether an image is finished at its first point within the threat's ``eps``;
            else only where the clean image itself reaches the goal.
    """

    def __init__(
        self, score: Score, x0: Images, threat: Threat, *, queries: int, early_stop: bool
    ) -> None:
        self.closest = Closest(x0, threat)
        self.left = torch.full((len(x0),), queries, device=x0.device)
        self._score, self._early_stop = score, early_stop

    @property
    def open(self) -> Flags:
        """(N,) which images may still be asked about: budget is left, and they are not finished."""
        found = self.closest.found
        finished = found if self._early_stop else self.closest.distance == 0
        return (self.left > torch.where(found, KEPT, 0)) & ~finished

    def ask(self, x: Images, position: Positions, rng: Stream) -> Flags:
        """Whether each point reaches the goal; False, unasked, where the image is not `open`.

        Args:
            x: (M, C, H, W) points in the box.
            position: (M,) which images they belong to, each at most once.
            rng: (M,) the model's own randomness.
        """
        (asked,) = torch.nonzero(self.open[position], as_tuple=True)
        if len(asked) < len(x) or not len(x):  # a model is never asked about no image
            reached = torch.zeros(len(x), dtype=torch.bool, device=x.device)
            if len(asked):
                reached[asked] = self.ask(x[asked], position[asked], rng.take(asked))
            return reached
        reached = self.probe(x, position, rng)
        self.closest.offer(x, reached, position)
        return reached

    def probe(self, x: Images, position: Positions, rng: Stream) -> Flags:
        """As `ask`, but for images with budget enough, repeats allowed; the points are not kept."""
        self.left -= torch.bincount(position, minlength=len(self.left))
        return query(self._score.take(position), x, rng).reached


def find_start(
    oracle: Oracle, x0: Images, start: Start, draws: int, threat: Threat, rng: Stream
) -> tuple[Images, Flags]:
    """Draw starts until one reaches the goal, one query each; the clean image is tried first.

    Returns:
        (N, C, H, W) the first start that reaches the goal, and (N,) whether there was one, for an
        image that is still `Oracle.open`.
    """
    x, found = x0.clone(), torch.zeros(len(x0), dtype=torch.bool, device=x0.device)
    oracle.ask(x0, torch.arange(len(x0), device=x0.device), rng.fold("clean"))
    for draw in range(draws):
        (position,) = torch.nonzero(oracle.open & ~found, as_tuple=True)
        if not len(position):
            break
        stream = rng.fold("start", draw).take(position)
        candidate = start(x0[position], threat, stream)
        reached = oracle.ask(candidate, position, stream)
        x[position] = torch.where(expand(reached, candidate), candidate, x[position])
        found[position] = reached
    return x, found


def halvings(x0: Images, threat: Threat) -> int:
    """How many halvings bring a point as near to the boundary as HopSkipJump asks.

    To the fraction θ = d^-(q+1) of its distance, q = 1 - 1/p: d^-3/2 in ℓ2 and d^-2 in ℓ∞
    (section IV.B), but to a thousandth in few dimensions, and no nearer than rounding allows.
    """
    doublings = (2 - 1 / threat.p) * math.log2(math.prod(x0.shape[1:]))
    finest = -math.log2(torch.finfo(x0.dtype).eps)
    return math.ceil(min(max(doublings, 10), finest))


def to_boundary(
    oracle: Oracle, x: Images, x0: Images, position: Positions, threat: Threat, rng: Stream
) -> None:
    """Move points that reach the goal to its boundary, by bisection towards the clean image.

    In ℓ2 along the segment; in ℓ∞ by clipping the perturbation (HopSkipJump algorithm 1). Wherever
    the budget ends, a point that was seen to reach the goal remains.

    Args:
        oracle: pays one query for each halving.
        x: (N, C, H, W) the points, moved in place.
        x0: (N, C, H, W) clean images.
        position: (M,) which of them to move.
        threat: the norm.
        rng: (N,) the model's own randomness.
    """
    best, clean, rng = x[position], x0[position], rng.take(position)
    far, distance = best, threat.distance(best, clean).to(x)
    low, high = torch.zeros_like(distance), torch.ones_like(distance)
    for halving in range(halvings(x0, threat)):
        middle = (low + high) / 2
        point = _nearer(far, clean, middle, distance, threat)
        reached = oracle.ask(point, position, rng.fold("halving", halving))
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
        best = torch.where(expand(reached, best), point, best)
    x[position] = best


def past_the_boundary(oracle: Oracle, rng: Stream) -> Images:
    """The closest points, stepped past the boundary; see `confirmation.past_the_boundary`.

    They lie as near to it as bisection comes, so each is moved, with the queries kept for it.

    Args:
        oracle: holds the points, and has kept `KEPT` queries for each.
        rng: (N,) the model's own randomness.
    """
    return confirmation.past_the_boundary(oracle.probe, oracle.closest, rng, left=oracle.left)


def _nearer(x: Tensor, x0: Tensor, fraction: Tensor, distance: Tensor, threat: Threat) -> Tensor:
    """The point at ``fraction`` of the distance."""
    if threat.p == math.inf:
        radius = expand(fraction * distance, x)
        return torch.clamp(x, x0 - radius, x0 + radius).clamp(0, 1)
    return (x0 + expand(fraction, x) * (x - x0)).clamp(0, 1)
