"""The stages of an evaluation: what is tried on some images first, and then decides for the rest.

Without a `holdfast.metrics.Pilot` there is one stage, of all images.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pandas as pd
from torch import Tensor

from holdfast.attacks import Attack, Worst
from holdfast.evaluation.adapting import Named, early_parts
from holdfast.metrics import Pilot, drawn_order, pilot_ends
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
        >>> pilots_of([("pgd", PGD(Linf(0.1))), ("suite", WorstCase(Linf(0.1), budget=900))])
        {1: Pilot(parts=('square',), images=100)}
    """
    pilots = {}
    for place, (_, attack) in enumerate(attacks):
        if isinstance(attack, Worst) and attack.pilot:
            early = early_parts(attack)
            if 0 < early < len(attack.attacks):
                pilots[place] = Pilot(attack.names[early:], attack.pilot)
    return pilots


def stages(
    run: Run, images: int, attacks: Named, pilots: Mapping[int, Pilot], seed: int, batch_size: int
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
    made, waiting = list(attacks), dict(pilots)
    order, begun, chunks = drawn_order(images, seed), 0, 0

    def until(end: int) -> Stage:
        batches = order[begun:end].sort().values.split(batch_size)
        return Stage(dict(enumerate(batches, chunks)), tuple(made), begun, images - end)

    for end in pilot_ends(images, [*pilots.values()]):
        stage = until(end)
        yield stage
        begun, chunks = end, chunks + len(stage.batches)
        clean = _tried(run, 0, chunks).set_index("index")["loss"]
        for place, pilot in list(waiting.items()):
            earned = pilot.earned(_tried(run, place + 1, chunks), clean)
            if earned is None:
                continue
            del waiting[place]
            if not earned:
                made[place] = _without_late_parts(*made[place])
        if not waiting:
            break
    yield until(images)


def _tried(run: Run, cell: int, chunks: int) -> pd.DataFrame:
    """The rows of a cell so far."""
    return pd.concat(run.chunks.read(cell, chunk) for chunk in range(chunks))


def _without_late_parts(name: str, attack: Attack) -> tuple[str, Worst]:
    assert isinstance(attack, Worst)
    early = early_parts(attack)
    return name, replace(attack, attacks=attack.attacks[:early], called=attack.names[:early])
