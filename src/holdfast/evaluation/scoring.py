"""Runs an attack on a batch, then asks the model in other batches; makes rows of the answers."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from holdfast.attacks import Attack
from holdfast.attacks.engine.aimed import aimed_at
from holdfast.counting import Counted
from holdfast.evaluation.asking import Asker, Batch
from holdfast.evaluation.crafting import Crafted, Crafter
from holdfast.evaluation.rounding import to_8_bit
from holdfast.evaluation.rows import NOBODY, Attacked, Effort, rows_of
from holdfast.progress import silent
from holdfast.results import CLEAN
from holdfast.types import Callback, Images


@dataclass(frozen=True)
class Scorer:
    """Scores attacks on one model and data set.

    Attributes:
        asker: asks the model about images, before and after.
        attack_all: attack images too that the model gets wrong without.
        watch: told every step of every attack.
        share_sizes: whether rows say at which size their images were found.
        counting: told what counts the passes of an attack before it runs.
        quick: the same model by faster passes, on which attacks run in its place.
    """

    asker: Asker
    attack_all: bool = False
    watch: Callback = silent.watch
    share_sizes: bool = False
    counting: Callable[[Counted], None] | None = None
    quick: nn.Module | None = None

    def at_once(self, size: int) -> "Scorer":
        """The same with so many images in a forward pass of a vote."""
        return replace(self, asker=replace(self.asker, batch_size=size))

    def clean_rows(self, batch: Batch) -> pd.DataFrame:
        """Rows of the unattacked images."""
        answer, effort = self.asker.of_clean(batch), Effort.none(batch.index)
        rows = rows_of(
            CLEAN, None, batch, answer.prediction, answer, batch.x, effort, self.asker.votes
        )
        rows["by"] = np.where(rows["fooled"], CLEAN, NOBODY)
        return rows

    def attack_rows(
        self,
        name: str,
        attack: Attack,
        batch: Batch,
        clean: Int[Tensor, " n"],
        before: Attacked | None = None,
    ) -> Attacked:
        """Rows and adversarial images of ``attack`` on a batch.

        Images that the model gets wrong without an attack are left alone, unless all are to be
        attacked, and count as fooled either way. Where an attack needs a gradient and none reaches
        the images, it is skipped: they stay as they are, and it was blind.

        Args:
            name: what the rows are labelled with.
            attack: already adapted to what the model declares.
            batch: the examples.
            clean: the model's predictions on the unattacked images.
            before: what came of another size: images that lie in this ball and still fool are taken
                over, each with the size at which it was found, and the others are attacked; not so
                if the size was larger, where the attack has found the nearest that it finds.
                Rows then have that size for these too.
        """
        index, x, y = batch.index, batch.x, batch.y
        right = clean.to(y.device) == y
        chosen = torch.ones_like(right) if self.attack_all else right.clone()
        x_adv, known = x.clone(), torch.zeros_like(right)
        found_at = np.full(len(index), attack.threat.eps)
        skipped: Mapping[str, str] = {}
        blind = torch.zeros_like(right)  # of those left alone, as of the size that tells of them
        far = torch.zeros_like(right)
        if before is not None:
            some = before.fallen(attack.threat)
            fallen = some.to(right.device)
            if some.any():
                known[fallen] = self.asker.fooled_again(
                    name, attack.threat, before.x_adv[fallen], batch.take(some)
                )
            known &= right
            if before.eps > attack.threat.eps:
                chosen &= fallen | ~right
                alone = right & ~fallen
                blind, far = (
                    alone & before.flag(said).to(right.device) for said in ("blind", "far")
                )
                skipped = before.skipped
            chosen &= ~known
            x_adv[known] = before.x_adv[known]
        broke = np.full(len(index), name, dtype=object)
        made = self._crafted(name, attack, batch, chosen)
        # NumPy takes a torch mask of one element for a number, so its arrays get masks of its own.
        attacked = chosen.cpu().numpy()
        x_adv[chosen], broke[attacked] = made.x_adv, made.by
        answer = self.asker.of_attacked(name, attack.threat, x_adv, y, index)
        # An image that was left alone was scored before; fresh noise must not make it robust.
        prediction = torch.where(chosen | known, answer.prediction, clean.to(y.device))
        answer = replace(answer, prediction=prediction)
        effort = Effort(made.forwards, made.backwards, made.blind | blind, made.far | far)
        rows = rows_of(name, attack.threat, batch, clean, answer, x_adv, effort, self.asker.votes)
        rows["fooled"] |= ~right.cpu().numpy()
        broke[~right.cpu().numpy()] = CLEAN
        if before is not None:
            taken = known.cpu().numpy()
            broke[taken] = before.rows["by"].to_numpy()[taken]
            if before.eps > attack.threat.eps:  # which tells of those too that do not fall here
                taken = (right & ~chosen).cpu().numpy()
            found_at[taken] = before.rows["found_at"].to_numpy()[taken]
        if self.share_sizes:
            rows["found_at"] = found_at
        rows["by"] = np.where(rows["fooled"], broke, NOBODY)
        return Attacked(rows, x_adv, made.skipped or skipped, made.noted)

    def _crafted(
        self, name: str, attack: Attack, batch: Batch, chosen: Bool[Tensor, " n"]
    ) -> Crafted:
        """What an attack makes of some images, on the model or on what is faster in its place.

        What fools only the latter fools nobody: such an image is attacked again, on the model.
        """
        place = batch.index.to(batch.x.device)
        crafter = Crafter(self.asker.seed, self.watch, self.counting)
        about = (name, attack, batch.x, batch.y, place)
        if self.quick is None:
            return crafter.craft(self.asker.model, *about, chosen)
        made = crafter.craft(self.quick, *about, chosen)
        again = self._only_quick(name, attack, made.x_adv, batch, chosen)
        if not again.any():
            return made
        more = crafter.craft(self.asker.model, *about, again)
        x_adv, by = made.x_adv.clone(), np.array(made.by, dtype=object)
        among = again[chosen]
        x_adv[among], by[among.cpu().numpy()] = more.x_adv, more.by
        return Crafted(
            x_adv,
            by.tolist(),
            made.forwards + more.forwards,
            made.backwards + more.backwards,
            torch.where(again, more.blind, made.blind),
            torch.where(again, more.far, made.far),
            {**made.skipped, **more.skipped},
            dict(Counter(made.noted) + Counter(more.noted)),
        )

    def _only_quick(
        self, name: str, attack: Attack, x_adv: Images, batch: Batch, chosen: Bool[Tensor, " n"]
    ) -> Bool[Tensor, " n"]:
        """Which of the images that were attacked fool what is faster, and not the model."""
        found, top, purpose = chosen.clone(), aimed_at(attack), f"{name} {attack.threat!r}"
        if chosen.any() and self.quick is not None:
            index, y = batch.index[chosen.cpu()], batch.y[chosen]
            quick, own = (
                self.asker.votes_of(network, x_adv, index, purpose).among(y, top)
                for network in (self.quick, self.asker.model)
            )
            found[chosen] = ~quick & own
        return found

    def images(self, attack: Attack, batch: Batch, x_adv: Images) -> dict[str, Tensor]:
        """What to keep of adversarial images: as found, and as an 8-bit file would hold them.

        ``x_adv_8bit`` is x_adv on the grid of 256 levels, inside the ball; ``prediction_8bit`` is
        what the model says of it, or -1 where the grid has no point within the ball.
        """
        rounded, possible = to_8_bit(x_adv, batch.x, attack.threat)
        prediction = self.asker.of_8_bit(attack.threat, rounded, batch.y, batch.index).prediction
        return {
            "index": batch.index,
            "label": batch.y,
            "x": batch.x,
            "x_adv": x_adv,
            "x_adv_8bit": rounded,
            "prediction_8bit": torch.where(possible, prediction, -1),
        }
