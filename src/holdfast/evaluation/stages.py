"""The stages of an evaluation: what is tried on some images first, and then decides for the rest.

Without a `holdfast.metrics.Pilot` there is one stage, of all images; with one there are two.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pandas as pd
from torch import Tensor

from holdfast.attacks import Worst
from holdfast.evaluation.adapting import Named
from holdfast.metrics import Pilot, drawn_order
from holdfast.parameters import Seed
from holdfast.results import Run

__all__ = ["Stage", "pilots_of", "stages"]


@dataclass(frozen=True)
class Stage:
    """Images that meet the same attacks.

    Attributes:
        batches: of their indices, by the number of the chunk.
        attacks: as they are run on these.
        before: images of the stages before it.
        after: images of those to come.

    Example:
        >>> from holdfast.evaluation.stages import Stage
        >>> Stage({0: torch.arange(4)}, attacks=[], before=0, after=0).batches[0]
        tensor([0, 1, 2, 3])
    """

    batches: Mapping[int, Tensor]
    attacks: Named
    before: int
    after: int


def pilots_of(attacks: Named) -> dict[int, Pilot]:
    """The pilots that attacks ask for, by their place.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD, WorstCase
        >>> from holdfast.evaluation.stages import pilots_of
        >>> suite = WorstCase(Linf(0.1), budget=900)
        >>> pilots_of([("pgd", PGD(Linf(0.1))), ("suite", suite)])[1].images
        100
    """
    return {
        place: Pilot(attack.pilot, attack.near)
        for place, (_, attack) in enumerate(attacks)
        if isinstance(attack, Worst) and attack.pilot and attack.near
    }


def stages(
    run: Run, images: int, attacks: Named, pilots: Mapping[int, Pilot], seed: Seed, batch_size: int
) -> Iterator[Stage]:
    """One stage after the other; each must have been filled before the next is asked for.

    What a stage decides is read from the rows of the run, so that a run that was killed decides the
    same again.

    Args:
        run: that is written to.
        images: of the data.
        attacks: all, with all their parts.
        pilots: by the place of the attack.
        seed: of the order in which images are tried on.
        batch_size: images in a chunk.

    Example:
        >>> from pathlib import Path
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.evaluation.stages import stages
        >>> from holdfast.results import Run
        >>> run, attacks = Run(Path("run"), "evaluate", {}), [("pgd", PGD(Linf(0.1)))]
        >>> (stage,) = stages(run, 5, attacks, {}, seed=0, batch_size=4)
        >>> stage.batches
        {0: tensor([0, 1, 2, 3]), 1: tensor([4])}
    """
    order = drawn_order(images, seed)
    tried = min(max((pilot.images for pilot in pilots.values()), default=images), images)
    first = _batches(order[:tried], batch_size, 0)
    yield Stage(first, tuple(attacks), before=0, after=images - tried)
    if tried == images:
        return
    made, clean = list(attacks), _rows(run, 0, first).set_index("index")["loss"]
    for place, pilot in pilots.items():
        name, attack = attacks[place]
        if pilot.spares(pilot.tried(_rows(run, place + 1, first), order), clean):
            assert isinstance(attack, Worst)
            made[place] = name, replace(attack, spare=True)
    rest = _batches(order[tried:], batch_size, len(first))
    yield Stage(rest, tuple(made), before=tried, after=0)


def _batches(index: Tensor, batch_size: int, begun: int) -> dict[int, Tensor]:
    """Images in their own order, by the number of the chunk."""
    return dict(enumerate(index.sort().values.split(batch_size), begun))


def _rows(run: Run, cell: int, chunks: Mapping[int, Tensor]) -> pd.DataFrame:
    """The rows of a cell that are there."""
    return pd.concat(run.chunks.read(cell, chunk) for chunk in chunks)
