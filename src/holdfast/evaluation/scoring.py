"""Runs an attack on a batch, then asks the model in other batches; makes rows of the answers."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Int
from scipy.stats import binom
from torch import Tensor, nn

from holdfast.attacks import Attack
from holdfast.checks import check_classes
from holdfast.counting import Counted
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.evaluation.crafting import Crafted, Crafter
from holdfast.evaluation.rounding import to_8_bit
from holdfast.parameters import check
from holdfast.progress import silent
from holdfast.random import Stream
from holdfast.results import CLEAN
from holdfast.tensors import device_of, distances, norm, sent
from holdfast.types import Callback, Images, Labels, Threat
from holdfast.votes import Votes, check_numbers, take_votes_apart

#: Who broke an image that is robust.
_NOBODY = "none"

#: Chance that votes which part a class from the label so far are those of two equal ones, below
#: which they leave no doubt.
_DOUBT = 1e-3

#: What an attack cannot be called: the words of the rows.
_RESERVED = frozenset({CLEAN, _NOBODY, ""})


def check_name(name: str) -> None:
    """Whether an attack's name can be written in rows.

    Raises:
        InputTypeError: if it is no text.
        InputError: if it means something else there, or cannot be printed.
    """
    check("the name of an attack", name, str)
    if name.strip().lower() in _RESERVED or not name.isprintable():
        raise InputError(
            f"an attack is named {name!r}, but in rows that is no name; call it something else, "
            "such as 'pgd'."
        )


@dataclass(frozen=True)
class Answer:
    """What the model said about a batch, by fresh passes with fresh noise."""

    prediction: Tensor  # (N,)
    loss: Tensor  # (N,) -log of the mean probability of the label
    votes_for_prediction: Tensor  # (N,)
    votes_for_label: Tensor  # (N,)
    rank: Tensor  # (N,) classes that the model prefers to the label: 0 if it is right
    counts: Tensor  # (N, K) votes
    scores: Tensor  # (N, K) mean probabilities


@dataclass(frozen=True)
class Effort:
    """What an attack spent on each image, and whether it saw anything."""

    forwards: Tensor  # (N,) forward passes
    backwards: Tensor  # (N,) backward passes
    blind: Tensor  # (N,) whether no gradient that it looked at showed a way; see `_Sight`
    far: Tensor  # (N,) whether a cascade found the image far from falling; see `Worst`

    @classmethod
    def none(cls, index: Tensor) -> "Effort":
        """Nothing was spent."""
        nothing = torch.zeros_like(index)
        return cls(nothing, nothing, nothing.bool(), nothing.bool())


@dataclass(frozen=True)
class Batch:
    """Examples of the data, read once for all that is asked about them."""

    index: Int[Tensor, " n"]  # on the CPU
    x: Images  # on the model's device, as the labels
    y: Labels

    def take(self, chosen: Bool[Tensor, " n"]) -> "Batch":
        """Those of a mask on the CPU."""
        place = chosen.to(self.x.device)
        return Batch(self.index[chosen], self.x[place], self.y[place])


class Attacked(NamedTuple):
    """What an attack made of a batch."""

    rows: pd.DataFrame
    x_adv: Images
    skipped: Mapping[str, str]  # attacks, or parts of one, that could not run: name -> reason
    noted: Mapping[str, int]  # what was mended of its images: what -> how many

    @property
    def eps(self) -> float:
        """The size that it had."""
        return float(self.rows["eps"].iloc[0])

    def flag(self, column: str) -> Bool[Tensor, " n"]:
        """What rows say yes or no to."""
        return torch.from_numpy(self.rows[column].to_numpy(dtype=bool, copy=True))

    def fallen(self, threat: Threat) -> Bool[Tensor, " n"]:
        """Which images fell, at a point in the ball of another size."""
        fits = self.rows[threat.name] <= threat.eps * (1 + 1e-6)
        return torch.from_numpy((self.rows["fooled"] & fits).to_numpy(dtype=bool, copy=True))


@dataclass(frozen=True)
class Scorer:
    """Scores attacks on one model and data set.

    Attributes:
        model: in evaluation mode.
        data: the test set.
        seed: of all randomness.
        votes: draws that decide a prediction; 1 for a deterministic model.
        batch_size: images in one forward pass of a vote.
        attack_all: attack images too that the model gets wrong without.
        watch: told every step of every attack.
        share_sizes: whether rows say at which size their images were found.
        counting: told what counts the passes of an attack before it runs.
        quick: the same model by faster passes, on which attacks run in its place.
    """

    model: nn.Module
    data: Data
    seed: int
    votes: int
    batch_size: int
    attack_all: bool = False
    watch: Callback = silent.watch
    share_sizes: bool = False
    counting: Callable[[Counted], None] | None = None
    quick: nn.Module | None = None

    def batch(self, index: Int[Tensor, " n"]) -> Batch:
        """The examples at ``index``."""
        device = device_of(self.model)
        return Batch(index, sent(self.data.x(index), device), sent(self.data.y[index], device))

    def clean_rows(self, batch: Batch) -> pd.DataFrame:
        """Rows of the unattacked images."""
        index, x, y = batch.index, batch.x, batch.y
        answer = self.answer_clean(batch)
        effort = Effort.none(index)
        rows = self._rows(index, y, answer.prediction, answer, x, x, effort)
        rows["by"] = np.where(rows["fooled"], CLEAN, _NOBODY)
        return _labelled(rows, CLEAN, "none", 0.0)

    def attack_rows(
        self,
        name: str,
        attack: Attack,
        batch: Batch,
        clean: Int[Tensor, " n"],
        before: "Attacked | None" = None,
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
            fallen = before.fallen(attack.threat).to(right.device)
            known = right & self._fallen(name, attack, batch, before, fallen)
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
        answer = self.answer(name, attack.threat, x_adv, y, index)
        # An image that was left alone was scored before; fresh noise must not make it robust.
        prediction = torch.where(chosen | known, answer.prediction, clean.to(y.device))
        answer = replace(answer, prediction=prediction)
        effort = Effort(made.forwards, made.backwards, made.blind | blind, made.far | far)
        rows = self._rows(index, y, clean, answer, x, x_adv, effort)
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
        rows["by"] = np.where(rows["fooled"], broke, _NOBODY)
        rows = _labelled(rows, name, attack.threat.name, attack.threat.eps)
        return Attacked(rows, x_adv, made.skipped or skipped, made.noted)

    def _crafted(
        self, name: str, attack: Attack, batch: Batch, chosen: Bool[Tensor, " n"]
    ) -> Crafted:
        """What an attack makes of some images, on the model or on what is faster in its place.

        What fools only the latter fools nobody: such an image is attacked again, on the model.
        """
        place = batch.index.to(batch.x.device)
        crafter = Crafter(self.seed, self.watch, self.counting)
        about = (name, attack, batch.x, batch.y, place)
        if self.quick is None:
            return crafter.craft(self.model, *about, chosen)
        made = crafter.craft(self.quick, *about, chosen)
        again = self._only_quick(f"{name} {attack.threat!r}", made.x_adv, batch, chosen)
        if not again.any():
            return made
        more = crafter.craft(self.model, *about, again)
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
        self, purpose: str, x_adv: Images, batch: Batch, chosen: Bool[Tensor, " n"]
    ) -> Bool[Tensor, " n"]:
        """Which of the images that were attacked fool what is faster, and not the model."""
        found = chosen.clone()
        if chosen.any() and self.quick is not None:
            index, y = batch.index[chosen.cpu()], batch.y[chosen]
            answers = [
                self._asked(network, x_adv, index, purpose).counts.argmax(dim=1)
                for network in (self.quick, self.model)
            ]
            found[chosen] = (answers[0] != y) & (answers[1] == y)
        return found

    def answer_clean(self, batch: Batch) -> Answer:
        """What the model says of the unattacked images: by the same draws whenever it is asked."""
        return self._ask(batch.x, batch.y, batch.index, CLEAN)

    def answer(self, name: str, threat: Threat, x_adv: Images, y: Labels, index: Tensor) -> Answer:
        """The same of an attack's images."""
        return self._ask(x_adv, y, index, f"{name} {threat!r}")

    def answer_8_bit(self, threat: Threat, rounded: Images, y: Labels, index: Tensor) -> Answer:
        """The same of those on the grid of 256 levels."""
        return self._ask(rounded, y, index, f"8-bit {threat!r}")

    def _fallen(
        self,
        name: str,
        attack: Attack,
        batch: Batch,
        before: "Attacked",
        fallen: Bool[Tensor, " n"],
    ) -> Bool[Tensor, " n"]:
        """Which images that fooled at another size fool once more; by votes, without a doubt.

        Of votes that hardly agree the next ones may say otherwise, and the image would be called
        robust though a stronger one had been found for it: it is attacked instead.
        """
        fallen = fallen.cpu().clone()
        if fallen.any():
            some = batch.take(fallen)
            x_adv = before.x_adv[fallen.to(some.x.device)]
            answer = self._ask(x_adv, some.y, some.index, f"{name} {attack.threat!r} again")
            fooled = (answer.prediction != some.y).cpu()
            if self.votes > 1:
                most, label = answer.votes_for_prediction.cpu(), answer.votes_for_label.cpu()
                chance = torch.as_tensor(binom.sf(most - 1, most + label, 0.5))
                fooled &= chance < _DOUBT
            fallen[fallen.clone()] = fooled
        return fallen.to(batch.x.device)

    def images(self, attack: Attack, batch: Batch, x_adv: Images) -> dict[str, Tensor]:
        """What to keep of adversarial images: as found, and as an 8-bit file would hold them.

        ``x_adv_8bit`` is x_adv on the grid of 256 levels, inside the ball; ``prediction_8bit`` is
        what the model says of it, or -1 where the grid has no point within the ball.
        """
        index, x, y = batch.index, batch.x, batch.y
        rounded, possible = to_8_bit(x_adv, x, attack.threat)
        prediction = self.answer_8_bit(attack.threat, rounded, y, index).prediction
        return {
            "index": index,
            "label": y,
            "x": x,
            "x_adv": x_adv,
            "x_adv_8bit": rounded,
            "prediction_8bit": torch.where(possible, prediction, -1),
        }

    def _ask(self, x: Images, y: Labels, index: Tensor, purpose: str) -> Answer:
        counts, scores = self._asked(self.model, x, index, purpose)
        check_classes(y, counts.shape[1])
        loss = -scores.gather(1, y[:, None])[:, 0].clamp(min=1e-300).log()
        most, prediction = counts.max(dim=1)
        liked = counts + scores / 2  # by votes, and where they are equal by probability
        rank = (liked > liked.gather(1, y[:, None])).sum(dim=1)
        label = counts.gather(1, y[:, None])[:, 0]
        return Answer(prediction, loss, most, label, rank, counts, scores)

    def _asked(self, network: nn.Module, x: Images, index: Tensor, purpose: str) -> Votes:
        """A network's votes about images."""
        rng = Stream.of(self.seed, sent(index, x.device)).fold("ask", purpose)
        votes = take_votes_apart(network, x, rng, n=self.votes, batch_size=self.batch_size)
        check_numbers(votes, index, purpose)
        return votes

    def _rows(
        self,
        index: Tensor,
        y: Labels,
        clean: Tensor,
        answer: Answer,
        x: Images,
        x_adv: Images,
        effort: Effort,
    ) -> pd.DataFrame:
        columns = {
            "index": index,
            "label": y,
            "clean_prediction": clean,
            "prediction": answer.prediction,
            "fooled": answer.prediction != y,
            **distances(x_adv, x),
            "x_l2": norm(x.cpu().double(), 2),
            "x_linf": norm(x.cpu().double(), torch.inf),
            "loss": answer.loss,
            "forwards": effort.forwards,
            "backwards": effort.backwards,
            "blind": effort.blind,
            "far": effort.far,
            "votes": torch.full_like(y, self.votes),
            "votes_for_prediction": answer.votes_for_prediction,
            "votes_for_label": answer.votes_for_label,
            "rank": answer.rank,
        }
        return pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})


def _labelled(rows: pd.DataFrame, attack: str, norm_name: str, eps: float) -> pd.DataFrame:
    rows.insert(0, "attack", attack)
    rows.insert(1, "norm", norm_name)
    rows.insert(2, "eps", eps)
    return rows
