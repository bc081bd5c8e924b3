"""What scores alone tell of a gradient: how they differ between the two images of a pair."""

from collections.abc import Callable

import torch

from holdfast.random import Stream, drawing_from
from holdfast.tensors import expand
from holdfast.types import Images, Score, Slope

__all__ = ["rises"]


def rises(
    score: Score,
    x: Images,
    rng: Stream,
    pairs: int,
    length: float,
    directions: Callable[[Images, Stream, int, int], Images],
    memory: int | None,
) -> Slope:
    """Value at ``x``, and Σ_i u_i (L(x + l u_i) - L(x - l u_i)) in place of the gradient.

    Args:
        score: L.
        x: (N, C, H, W).
        rng: of the examples.
        pairs: how many i.
        length: l.
        directions: (x, stream of the copies, start, stop) -> u of the pairs ``start`` to
            ``stop - 1``, each for all images: ((stop - start) · N, C, H, W).
        memory: bytes that the images of one batch may take; by default 4 MiB on a CPU and 256 MiB
            elsewhere.

    Example:
        >>> from holdfast.goals import cross_entropy
        >>> from holdfast.gradients.pairs import rises
        >>> from holdfast.random import Stream
        >>> def brighter(x, copies, start, stop):
        ...     return torch.ones_like(x).repeat(stop - start, 1, 1, 1)
        >>> score, rng = cross_entropy(model, x, y), Stream.of(0, torch.arange(4))
        >>> value, rise, reached = rises(score, x, rng, 1, 0.01, brighter, None)
        >>> rise.flatten(1).std(dim=1).tolist()  # as much in every pixel
        [0.0, 0.0, 0.0, 0.0]
    """
    with torch.no_grad(), drawing_from(rng.fold("model")):
        value, reached = score(x)
    memory = memory or (2**22 if x.device.type == "cpu" else 2**28)
    at_once = max(1, memory // max(2 * x.nbytes, 1))
    total = torch.zeros_like(x)
    for start in range(0, pairs, at_once):
        stop = min(start + at_once, pairs)
        count, copies = stop - start, rng.copies(start, stop)
        along = directions(x, copies, start, stop)
        around = x.repeat(2 * count, *[1] * (x.dim() - 1))
        around = around + length * torch.cat([along, -along])
        twice = torch.arange(len(along), device=x.device).repeat(2)
        with torch.no_grad(), drawing_from(copies.take(twice).fold("model")):
            every = torch.arange(len(x), device=x.device).repeat(2 * count)
            values = score.take(every)(around).value.to(x.dtype)
        rise = values[: len(along)] - values[len(along) :]
        total += (expand(rise, along) * along).unflatten(0, (count, len(x))).sum(dim=0)
    return Slope(value, total, reached)
