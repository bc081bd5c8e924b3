"""What a chunk of an evaluation lacks, computed: rows of the clean images, then of each attack."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from holdfast.evaluation.adapting import Named
from holdfast.evaluation.forecast import Forecast
from holdfast.evaluation.rows import Attacked
from holdfast.evaluation.scoring import Scorer
from holdfast.progress import Progress
from holdfast.results import Missing, Part, Work, in_pieces


@dataclass(frozen=True)
class Lacking:
    """Computes what a chunk lacks; its images are read once, and cell 0 is the clean ones.

    Attributes:
        scorer: of the model.
        attacks: with their names.
        keep: the first so many images are kept.
        begins: for an attack the one at another size, which hands on what fell there.
        labels: what to call each attack at its size.
        progress: told which is next.
        forecast: how much is done; a worker that is another process has a copy, which none asks.
    """

    scorer: Scorer
    attacks: Named
    keep: int
    begins: Mapping[int, int]
    labels: Sequence[str]
    progress: Progress
    forecast: Forecast

    def at_once(self, size: int) -> Work:
        """The work with so many images in memory."""
        return in_pieces(replace(self, scorer=self.scorer.at_once(size)).compute, size)

    def compute(self, missing: Missing) -> Iterator[Part]:
        """The missing cells of a chunk, one after the other."""
        batch, rows = self.scorer.asker.batch(missing.index), missing.first
        if rows is None:
            rows = self.scorer.clean_rows(batch)
            yield Part(0, rows)
        clean = torch.tensor(rows["clean_prediction"].to_numpy())
        kept = missing.index < self.keep
        done: dict[int, Attacked] = {}
        self.progress.measure(self.forecast.share)
        for place in self._in_order([cell - 1 for cell in missing.cells if cell]):
            name, attack = self.attacks[place]
            before = done.get(self.begins.get(place, -1))
            self.progress.turn_to(self.labels[place])
            self.forecast.begin(place, len(missing.index))
            done[place] = self.scorer.attack_rows(name, attack, batch, clean, before)
            if place + 1 not in missing.cells:
                continue  # known, and begun from once more for the sizes beside it
            self.forecast.finish()
            rows, x_adv, skipped, noted = done[place]
            images = {}
            if kept.any():
                images = self.scorer.images(attack, batch.take(kept), x_adv[kept.to(x_adv.device)])
            yield Part(place + 1, rows, images, skipped, noted)

    def _in_order(self, missing: Sequence[int]) -> list[int]:
        """The attacks that are missing, each after those that it begins from."""
        order: dict[int, None] = {}
        for place in missing:
            before = [place]
            while before[-1] in self.begins:
                before.append(self.begins[before[-1]])
            order |= dict.fromkeys(reversed(before))
        return list(order)
