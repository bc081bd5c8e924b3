"""The last look of attacks that look for the smallest perturbation: does the point really fool?

A search that closes in on the boundary keeps the points that rounding favours: they reach the goal
in the batch that they were found in, and not in another, or not in exact arithmetic. So what is
asked about once more is a point a hair nearer to the image, and in float64 too where that is cheap;
where it does not hold, the point is moved past the boundary by a small fraction of its distance.
"""

from collections.abc import Callable, Sequence

import torch

from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.queries import query
from holdfast.declarations import is_stochastic
from holdfast.random import Stream
from holdfast.types import Flags, Images, Model, Positions, Score, Threat

#: How far past the boundary a point is moved, as fractions of its distance: the first that holds.
PAST = (1e-3, 4e-3, 1.6e-2)

#: As far is moved what need not lie at the boundary: nowhere, if it holds as it is.
_AS_FAR_AS_NEEDED = (0.0, 1e-4, *PAST)

#: The part of its distance that a point must not need: what rounding may decide.
_HAIR = 5e-5

#: (points, which examples they belong to, their streams) -> (N,) whether each reaches the goal.
Ask = Callable[[Images, Positions, Stream], Flags]


def confirmed(model: Model, score: Score, closest: Closest, threat: Threat, rng: Stream) -> Images:
    """The points held that lie within ``threat``, past the boundary; the clean image elsewhere.

    It costs an image two forward passes, one of them in float64 where that is cheap, and as many
    again each time it is moved. What a random model answers once decides nothing: there the points
    stay where they are.

    Args:
        model: what ``score`` asks.
        score: of all examples.
        closest: what was found.
        threat: is not left.
        rng: of all examples.
    """

    def ask(x: Images, position: Positions, rng: Stream) -> Flags:
        return query(score.take(position), x, rng).reached

    limited = closest.limited(threat)
    if is_stochastic(model):
        return limited.image
    return past_the_boundary(ask, limited, rng, fractions=_AS_FAR_AS_NEEDED)


def past_the_boundary(
    ask: Ask,
    closest: Closest,
    rng: Stream,
    *,
    fractions: Sequence[float] = PAST,
    left: Positions | None = None,
) -> Images:
    """The points held, moved so far past the boundary that rounding no longer decides.

    A point holds if one that is nearer by half a ten-thousandth reaches the goal, and reaches it in
    float64 too where that is cheap. Where none holds in float64, the first that does without is
    taken; one that never does, or that no query is left for, stays where it is.

    Args:
        ask: each answer costs the image one query.
        closest: holds the points; its threat is not left.
        rng: of all examples.
        fractions: of its distance, by which a point is moved.
        left: (N,) queries that are left, which ``ask`` lessens; without end by default.
    """
    x0, found = closest.x0, closest.image
    result, away = found.clone(), found - x0
    open_ = closest.found & (closest.distance > 0)
    moved = torch.zeros_like(open_)  # to a point that holds in the images' own type
    exact = _float64_is_cheap(x0)
    for attempt, fraction in enumerate(fractions):
        (position,) = torch.nonzero(_affordable(open_, left), as_tuple=True)
        if not len(position):
            break
        clean, stream = x0[position], rng.take(position).fold("past", attempt)
        point = found[position]
        if fraction:
            point = closest.threat.project(clean + (1 + fraction) * away[position], clean)
        holds = ask(clean.lerp(point, 1 - _HAIR), position, stream)
        first = holds & ~moved[position]
        result[position[first]] = point[first]
        moved[position[first]] = True
        (asked,) = torch.nonzero(holds & _affordable(open_, left)[position], as_tuple=True)
        if exact and len(asked):
            nearer = clean[asked].double().lerp(point[asked].double(), 1 - _HAIR)
            try:
                holds[asked] = ask(nearer, position[asked], stream.take(asked).fold("float64"))
            except Exception:  # a stranger's network, which may well know no type but its own
                exact = False
        result[position[holds]] = point[holds]
        open_[position[holds]] = False
    return result


def _float64_is_cheap(x0: Images) -> bool:
    """On the CPU, where it takes twice as long; and where the network computes in float32.

    One that is meant to compute in fewer digits has its boundary elsewhere.
    """
    on_cpu = x0.device.type == "cpu"
    return on_cpu and x0.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def _affordable(wanted: Flags, left: Positions | None) -> Flags:
    return wanted if left is None else wanted & (left > 0)
