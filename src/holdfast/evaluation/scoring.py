"""The judge: runs an attack on a batch, then asks the model in other batches; writes rows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from holdfast.attacks import Attack, Worst
from holdfast.attacks.skips import hearing_skips
from holdfast.checks import check_classes
from holdfast.counting import Counted
from holdfast.data import Data
from holdfast.errors import GradientError, InputError, ModelError
from holdfast.evaluation.rounding import to_8_bit
from holdfast.parameters import check
from holdfast.progress import silent
from holdfast.random import Stream
from holdfast.tensors import device_of, norm
from holdfast.types import Callback, Images, Labels, Step
from holdfast.votes import Votes, take_votes

#: The name under which the rows of unattacked images stand.
CLEAN = "clean"

#: Who broke an image that stands.
_NOBODY = "none"

#: What an attack cannot be called: the words of the rows, and what programs that read CSV files
#: take for a missing value.
_RESERVED = frozenset(
    {CLEAN, _NOBODY, "", "nan", "-nan", "na", "n/a", "#na", "#n/a", "<na>", "nat", "null", "nil"}
)


def check_name(name: str) -> None:
    """Whether an attack's name can stand in rows.

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


@dataclass(frozen=True)
class Effort:
    """What an attack spent on each image, and whether it saw anything."""

    forwards: Tensor  # (N,) forward passes
    backwards: Tensor  # (N,) backward passes
    blind: Tensor  # (N,) whether no gradient that it looked at showed a way; see `_Sight`

    @classmethod
    def none(cls, index: Tensor) -> "Effort":
        """Nothing was spent."""
        nothing = torch.zeros_like(index)
        return cls(nothing, nothing, nothing.bool())


class _Sight:
    """Watches an attack's gradients: if none shows a way, that is masking and no robustness.

    A gradient shows a way where an entry is finite and not exactly 0.

    Args:
        attacked: (N,) which images of the batch are attacked; positions count among those.
        watch: is told every step as well.
    """

    def __init__(self, attacked: Bool[Tensor, " n"], watch: Callback) -> None:
        self._watch = watch
        (self._place,) = torch.nonzero(attacked, as_tuple=True)
        self._looked = torch.zeros_like(attacked)
        self._saw = torch.zeros_like(attacked)

    def __call__(self, step: Step) -> None:
        self._watch(step)
        if step.grad is None:  # the attack does not look at gradients
            return
        place = self._place[step.position]
        self._looked[place] = True
        self._saw[place] |= (step.grad.isfinite() & (step.grad != 0)).flatten(1).any(dim=1)

    def cut_off(self) -> None:
        """No gradient reached the images, so that there was nothing to see."""
        self._looked[self._place] = True

    @property
    def blind(self) -> Bool[Tensor, " n"]:
        """Whether the attack looked and saw nothing."""
        return self._looked & ~self._saw


@contextmanager
def _noted_as_skipped(name: str, skipped: dict[str, str], sight: _Sight) -> Iterator[None]:
    """An attack that needs a gradient where there is none is noted, and the rest goes on."""
    try:
        yield
    except GradientError as error:
        skipped[name] = str(error)
        sight.cut_off()


class Attacked(NamedTuple):
    """What an attack made of a batch."""

    rows: pd.DataFrame
    x_adv: Images
    skipped: Mapping[str, str]  # attacks, or parts of one, that could not run: name -> reason


@dataclass(frozen=True)
class Scorer:
    """Judges attacks on one model and data set.

    Attributes:
        model: in evaluation mode.
        data: the test set.
        seed: of all randomness.
        votes: draws that decide a prediction; 1 for a deterministic model.
        batch_size: images in one forward pass of a vote.
        watch: told every step of every attack.
    """

    model: nn.Module
    data: Data
    seed: int
    votes: int
    batch_size: int
    watch: Callback = silent.watch

    def clean_rows(self, index: Int[Tensor, " n"]) -> pd.DataFrame:
        """Rows of the unattacked images at ``index``."""
        x, y = self._batch(index)
        answer = self._ask(x, y, index, CLEAN)
        effort = Effort.none(index)
        rows = self._rows(index, y, answer.prediction, answer, x, x, effort)
        rows["by"] = np.where(rows["fooled"], CLEAN, _NOBODY)
        return _labelled(rows, CLEAN, "none", 0.0)

    def attack_rows(
        self, name: str, attack: Attack, index: Int[Tensor, " n"], clean: Int[Tensor, " n"]
    ) -> Attacked:
        """Rows and adversarial images of ``attack`` on the images at ``index``.

        Images that the model gets wrong without an attack are left alone and count as fooled. Where
        an attack needs a gradient and none reaches the images, it is skipped: they stay as they
        are, and it was blind.

        Args:
            name: what the rows are labelled with.
            attack: already adapted to what the model declares.
            index: the examples.
            clean: the model's predictions on the unattacked images.
        """
        x, y = self._batch(index)
        right = clean.to(y.device) == y
        x_adv = x.clone()
        counted, sight = Counted(self.model, index.to(x.device)), _Sight(right, self.watch)
        broke = np.full(len(index), name, dtype=object)
        # NumPy takes a torch mask of one element for a number, so its arrays get masks of its own.
        attacked = right.cpu().numpy()
        skipped: Mapping[str, str] = {}
        if right.any():
            chosen = index[right.cpu()].to(x.device)
            batch = (counted, x[right], y[right])
            with hearing_skips() as skipped, _noted_as_skipped(name, skipped, sight):
                if isinstance(attack, Worst):
                    broken = attack.run(*batch, seed=self.seed, index=chosen, callback=sight)
                    x_adv[right] = broken.x_adv
                    names = np.array([*broken.names, name], dtype=object)
                    broke[attacked] = names[broken.by.cpu().numpy()]
                else:
                    x_adv[right] = attack(*batch, seed=self.seed, index=chosen, callback=sight)
        purpose = f"{name} {attack.threat!r}"
        answer = self._ask(x_adv, y, index, purpose)
        # An image that was left alone was judged before; new noise must not pardon it.
        prediction = torch.where(right, answer.prediction, clean.to(y.device))
        answer = replace(answer, prediction=prediction)
        effort = Effort(counted.forwards, counted.backwards, sight.blind)
        rows = self._rows(index, y, clean, answer, x, x_adv, effort)
        broke[~attacked] = CLEAN
        rows["by"] = np.where(rows["fooled"], broke, _NOBODY)
        rows = _labelled(rows, name, attack.threat.name, attack.threat.eps)
        return Attacked(rows, x_adv, skipped)

    def images(self, attack: Attack, index: Int[Tensor, " n"], x_adv: Images) -> dict[str, Tensor]:
        """What to keep of adversarial images: as found, and as an 8-bit file would hold them.

        ``x_adv_8bit`` is x_adv on the grid of 256 levels, inside the ball; ``prediction_8bit`` is
        what the model says of it, or -1 where the grid has no point within the ball.
        """
        x, y = self._batch(index)
        rounded, possible = to_8_bit(x_adv, x, attack.threat)
        prediction = self._ask(rounded, y, index, f"8-bit {attack.threat!r}").prediction
        return {
            "index": index,
            "label": y,
            "x": x,
            "x_adv": x_adv,
            "x_adv_8bit": rounded,
            "prediction_8bit": torch.where(possible, prediction, -1),
        }

    def _batch(self, index: Tensor) -> tuple[Images, Labels]:
        device = device_of(self.model)
        return self.data.x(index).to(device), self.data.y[index].to(device)

    def _ask(self, x: Images, y: Labels, index: Tensor, purpose: str) -> Answer:
        rng = Stream.of(self.seed, index.to(x.device)).fold("ask", purpose)
        counts, scores = self._votes(x, rng)
        bad: Bool[Tensor, " n"] = scores.isnan().any(dim=1)
        if bad.any():
            raise ModelError(
                f"the model returned NaN for image {int(index[int(bad.int().argmax())])} under "
                f"{purpose}; a model must give a number for every image in [0, 1]."
            )
        check_classes(y, counts.shape[1])
        loss = -scores.gather(1, y[:, None])[:, 0].clamp(min=1e-300).log()
        most, prediction = counts.max(dim=1)
        return Answer(prediction, loss, most, counts.gather(1, y[:, None])[:, 0])

    def _votes(self, x: Images, rng: Stream) -> Votes:
        """The model's answers, to no image in the company that it was attacked in.

        How a network rounds depends on the batch, and so may what it says of an image at the very
        boundary: such a success must not count. Every second image is asked about together, and the
        first of them twice, as in no attack's batch, even of one image.
        """
        place = torch.arange(len(x), device=x.device)
        halves = [half for half in (place[::2], place[1::2]) if len(half)]
        parts = [
            take_votes(
                self.model,
                x[part],
                rng.take(part),
                n=self.votes,
                batch_size=max(self.batch_size, 2 * len(part)),  # as many passes as undivided
            )
            for part in (torch.cat([half[:1], half]) for half in halves)
        ]
        back = torch.cat(halves).argsort()
        return Votes(
            torch.cat([counts[1:] for counts, _ in parts])[back],
            torch.cat([scores[1:] for _, scores in parts])[back],
        )

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
        wide = x.cpu().double()
        delta = x_adv.cpu().double() - wide
        columns = {
            "index": index,
            "label": y,
            "clean_prediction": clean,
            "prediction": answer.prediction,
            "fooled": answer.prediction != y,
            "l0": norm(delta, 0).long(),
            "l1": norm(delta, 1),
            "l2": norm(delta, 2),
            "linf": norm(delta, torch.inf),
            "x_l2": norm(wide, 2),
            "x_linf": norm(wide, torch.inf),
            "loss": answer.loss,
            "forwards": effort.forwards,
            "backwards": effort.backwards,
            "blind": effort.blind,
            "votes": torch.full_like(y, self.votes),
            "votes_for_prediction": answer.votes_for_prediction,
            "votes_for_label": answer.votes_for_label,
        }
        return pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})


def _labelled(rows: pd.DataFrame, attack: str, norm_name: str, eps: float) -> pd.DataFrame:
    rows.insert(0, "attack", attack)
    rows.insert(1, "norm", norm_name)
    rows.insert(2, "eps", eps)
    return rows
