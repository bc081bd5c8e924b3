"""The last search of attacks that look for the smallest perturbation: along the segment."""

import torch

from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.queries import query
from holdfast.random import Stream
from holdfast.tensors import expand
from holdfast.types import Images, PerExample, Positions, Score

#: Least fraction of the segment that a step goes.
_LEAST = 1e-3


def segment_search(
    score: Score,
    x0: Images,
    held: Closest,
    ends: tuple[PerExample, PerExample],
    *,
    position: Positions,
    steps: int,
    rng: Stream,
) -> None:
    """Look for a closer point between the clean image and the one held, by regula falsi.

    The margin is below 0 at one end and above 0 at the other; the next point is where the straight
    line between the two margins is 0, and replaces the end on its own side. The end that stays has
    its margin halved, the Illinois rule, without which a convex margin is approached from the clean
    side only and nothing is gained.

    Args:
        score: a margin, above 0 where the goal is reached; of all examples.
        x0: (N, C, H, W) clean images.
        held: what was found; receives what is closer.
        ends: (N,) the margins at ``x0``, and at ``held.image``.
        position: which examples to search for.
        steps: number of forward passes for each of them.
        rng: of all examples.

    Reference:
        Croce and Hein 2020, section 2.3, "Final search"; Dowell and Jarratt, "A modified regula
        falsi method for computing the root of an equation", BIT 1971.
    """
    if not steps or not len(position):
        return
    score, rng = score.take(position), rng.take(position)
    near, far = x0[position], held.image[position]
    below, above = (margin[position] for margin in ends)
    for step in range(steps):
        # A straight margin is met at 0 exactly, which is not beyond: hence a least step.
        fraction = (-below / (above - below)).nan_to_num(0.5).clamp(_LEAST, 1)
        x = (near + expand(fraction.to(near), near) * (far - near)).clamp(0, 1)
        value, reached = query(score, x, rng.fold("step", step))
        held.offer(x, reached, position)
        near, far = (
            torch.where(expand(reached, x), near, x),
            torch.where(expand(reached, x), x, far),
        )
        below = torch.where(reached, below / 2, value)
        above = torch.where(reached, value, above / 2)
