"""A run's model, asked again: its answers to the clean images, to the kept ones, and its votes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.bundle.finding import Finding, contradicted, holds, unchecked
from holdfast.bundle.kept import kept_in
from holdfast.certify.auditing.ledger import Ledger
from holdfast.certify.chunks import sampled
from holdfast.data import Data
from holdfast.errors import HoldfastError
from holdfast.evaluation.adapting import hidden_in
from holdfast.evaluation.asking import Answer, Asker, surely_ahead
from holdfast.evaluation.audits import recorded_config
from holdfast.progress import Progress, Share
from holdfast.results import CLEAN, IMAGES, ROWS
from holdfast.tensors import device_of, eval_mode
from holdfast.threads import suited_threads
from holdfast.types import Model

#: Images that are asked about at once.
_AT_ONCE = 128

#: Difference of losses, in nats over 1 + loss, and of two classes that are as good as equal, that
#: other hardware may make at the most: it multiplies matrices with 10 bits. What it makes here is
#: read off most images, and one may have so many times as much, and a least that float32 does.
_ROUNDING, _OFTEN, _LEAST = 0.02, 50, 1e-5

#: Logarithm of a probability below which float32 hardly tells one from another.
_HARDLY = -80.0

#: Share of an image's votes, and of all votes, that rounding may move.
_OF_ONE, _OF_ALL = 0.01, 0.001


def attacked_again(
    run: Path,
    about: Mapping[str, Any],
    rows: pd.DataFrame,
    model: Model,
    data: Data,
    where: str,
    progress: Progress,
) -> Iterator[Finding]:
    """What the model says of every clean image, and of every adversarial one that was kept."""
    settings = about["settings"]
    config = recorded_config(settings)
    stochastic = bool(settings.get("stochastic", False))
    with eval_mode(model), suited_threads(data.shape, model, progress=progress):
        asked = hidden_in(model, data, config).model
        votes = config.votes if stochastic else 1
        asker = Asker(asked, data, config.seed, votes, _AT_ONCE)
        clean = rows[rows["attack"] == CLEAN].set_index("index", drop=False)
        progress.start(f"{where}: ask about the clean images", len(data))
        answers = []
        for index in data.batches(_AT_ONCE):
            written = clean.loc[index.numpy()]
            answers.append(_Compared.of(written, asker.of_clean(asker.batch(index)), votes))
            progress.advance(len(index))
        found = _Compared.joined(answers)
        yield _told(found, "clean", f"{where}/{ROWS}", votes, found.rounding)
        yield from _of_kept(run, about, rows, asker, where, found.rounding)


def _of_kept(
    run: Path,
    about: Mapping[str, Any],
    rows: pd.DataFrame,
    asker: Asker,
    where: str,
    rounding: float,
) -> Iterator[Finding]:
    file, device, total, wrong = f"{where}/{IMAGES}", device_of(asker.model), 0, 0
    try:
        every = list(kept_in(run, about, rows))
    except HoldfastError:  # which was told of, where the files were looked at
        return
    for kept in every:
        index = kept.images["index"]
        if not (
            np.array_equal(kept.images["label"].numpy(), asker.data.y[index].cpu().numpy())
            and torch.equal(kept.images["x"], asker.data.x(index).cpu())
        ):
            wrong += 1
            said = f"{kept}: the clean images or labels are not those of the data."
            yield contradicted(file, "images", said)
        total += len(index)
        y = kept.images["label"].to(device)
        x_adv = kept.images["x_adv"].to(device)
        answer = asker.of_attacked(kept.name, kept.threat, x_adv, y, index)
        # What was wrong without an attack was left alone, and has the answer that it had then; by
        # other draws it would have another.
        right = kept.rows["clean_prediction"] == kept.rows["label"]
        all_met = asker.votes == 1 or bool(about["settings"].get("attack_all", False))
        met = torch.tensor(np.array(right | all_met))
        found = _Compared.of(kept.rows, answer, asker.votes).take(met)
        yield _told(found, str(kept), file, asker.votes, rounding)
        on_grid = kept.images["x_adv_8bit"].to(device)
        eight = asker.of_8_bit(kept.threat, on_grid, y, index).prediction.cpu()
        written = kept.images["prediction_8bit"]
        bad = (written != -1) & (written != eight)
        if bad.any() and asker.votes == 1:
            first = index[int(bad.int().argmax())]
            said = f"{kept}, image {first}: the model says another class of the 8-bit version."
            yield contradicted(file, "answers", said)
    if total and not wrong:
        said = f"the clean images of {total} kept adversarial ones are those of the data."
        yield holds(file, "images", said)


class _Compared(NamedTuple):
    """Answers to some images beside those that are written; each (N,), on the CPU.

    Attributes:
        image: its number.
        written: the class that the row says.
        now: the class that the model says.
        gap: by how much the model prefers the one to the other: in nats, or in votes.
        loss: of the label, as the row says; NaN where it does not.
        loss_now: as the model says.
        moved: votes that are others.
        rank: of the label, as the row says; NaN where it does not.
        rank_now: as the model says.
        shift: by how much it would have to like other classes otherwise for the rank that is
            written: in nats, or in votes.
        ahead: classes with surely more votes than the label, as the row says; NaN where it does
            not.
        ahead_now: as the model says.
        ahead_apart: whether no votes that rounding may have moved would make the one of the other.
    """

    image: Tensor
    written: Tensor
    now: Tensor
    gap: Tensor
    loss: Tensor
    loss_now: Tensor
    moved: Tensor
    rank: Tensor
    rank_now: Tensor
    shift: Tensor
    ahead: Tensor
    ahead_now: Tensor
    ahead_apart: Tensor

    @classmethod
    def of(cls, rows: pd.DataFrame, answer: Answer, votes: int) -> "_Compared":
        """The answers to the images of some rows."""
        written, now = _column(rows, "prediction").long(), answer.prediction.cpu()
        liked = answer.counts.double() if votes > 1 else answer.scores.clamp(min=1e-300).log()
        liked = liked.cpu()
        known = written < liked.shape[1]  # a row may name a class that there is not
        place = torch.where(known, written, now)
        gap = (liked.gather(1, now[:, None]) - liked.gather(1, place[:, None]))[:, 0]
        loss_now = answer.loss.cpu().double()
        rank = _column(rows, "rank") if "rank" in rows else torch.full_like(loss_now, torch.nan)
        moved = torch.maximum(
            (_column(rows, "votes_for_prediction") - answer.votes_for_prediction.cpu()).abs(),
            (_column(rows, "votes_for_label") - answer.votes_for_label.cpu()).abs(),
        )
        ahead = _column(rows, "ahead") if "ahead" in rows else torch.full_like(loss_now, torch.nan)
        least, most = _ahead_between(answer, int(_OF_ONE * votes))
        return cls(
            _column(rows, "index").long(),
            written,
            now,
            torch.where(known, gap.double(), torch.inf),
            _column(rows, "loss") if "loss" in rows else torch.full_like(loss_now, torch.nan),
            loss_now,
            moved,
            rank,
            answer.rank.cpu().double(),
            _shift(rank, _column(rows, "label").long(), liked),
            ahead,
            answer.ahead.double(),
            (ahead < least) | (ahead > most),
        )

    @classmethod
    def joined(cls, parts: Sequence["_Compared"]) -> "_Compared":
        """Those of several batches."""
        return cls(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def take(self, chosen: Tensor) -> "_Compared":
        """Those of a mask."""
        return _Compared(*(column[chosen] for column in self))

    @property
    def apart(self) -> Tensor:
        """(N,) how far losses lie from what is written, over 1 + the smaller, which is finite."""
        smaller = torch.minimum(self.loss.abs(), self.loss_now.abs())
        return (self.loss - self.loss_now).abs() / (1 + smaller)

    @property
    def rounding(self) -> float:
        """What rounding does to an answer here, in nats; by most images, whatever one row says."""
        median = float(self.apart.nanmedian()) if len(self.apart) else torch.nan
        if not median < _ROUNDING:  # or no row says
            return _ROUNDING
        return min(_ROUNDING, _LEAST + _OFTEN * median)


def _told(found: _Compared, title: str, file: str, votes: int, rounding: float) -> Finding:
    """What a comparison amounts to."""
    differ = found.written != found.now
    tie = found.gap.abs() <= (rounding if votes == 1 else 2 * _OF_ONE * votes)
    other = found.apart > _ROUNDING
    other |= (found.moved > _OF_ONE * votes) & (torch.tensor(votes > 1) | differ)
    sure = rounding * (1 + found.loss_now) if votes == 1 else torch.tensor(2.0 * _OF_ONE * votes)
    other |= (found.shift > sure) | found.ahead_apart
    wrong = (differ | other) & ~(differ & tie)
    ties, total = int((differ & tie).sum()), len(differ)
    if wrong.any():
        at = int(wrong.int().argmax())
        more = f" (and {int(wrong.sum()) - 1} more)" if wrong.sum() > 1 else ""
        ahead = ""
        if found.ahead_apart[at]:
            ahead = f"; {found.ahead[at]:.0f} and {found.ahead_now[at]:.0f} classes are ahead of it"
        said = (
            f"{title}, image {found.image[at]}: the row says class {found.written[at]}, loss "
            f"{found.loss[at]:.4g} and rank {found.rank[at]:.0f} of the label, and the model says "
            f"class {found.now[at]}, loss {found.loss_now[at]:.4g} and rank "
            f"{found.rank_now[at]:.0f}{ahead}{more}."
        )
        return contradicted(file, "answers", said)
    if ties:
        said = f"{title}: {ties} of {total} answers are so near to a tie that rounding decides."
        return unchecked(file, "answers", said)
    return holds(file, "answers", f"{title}: the model answers {total} images as written.")


def _shift(rank: Tensor, label: Tensor, liked: Tensor) -> Tensor:
    """By how much classes would have to be liked otherwise for labels to have these ranks.

    A class that is hardly liked at all is liked as much as another.
    """
    most = liked.shape[1] - 1
    label, liked = label.clamp(max=most)[:, None], liked.double().clamp(min=_HARDLY)
    gaps = (liked - liked.gather(1, label)).scatter(1, label, -torch.inf)
    gaps = gaps.sort(dim=1, descending=True).values
    place = rank.nan_to_num().long()
    ahead = gaps.gather(1, place.clamp(max=most)[:, None])[:, 0]  # the first that must be behind
    behind = -gaps.gather(1, (place - 1).clamp(0, most)[:, None])[:, 0]
    shift = torch.maximum(ahead, torch.where(place > 0, behind, -torch.inf)).clamp(min=0)
    return torch.where(rank.isnan(), 0.0, shift)


def _ahead_between(answer: Answer, slack: int) -> tuple[Tensor, Tensor]:
    """(N,) the fewest and the most classes ahead of labels, if so many votes may be others."""
    counts, label = answer.counts.cpu().numpy(), answer.votes_for_label.cpu().numpy()
    least = surely_ahead((counts - slack).clip(0), label + slack)
    return least, surely_ahead(counts + slack, (label - slack).clip(0))


def _column(rows: pd.DataFrame, name: str) -> Tensor:
    return torch.tensor(rows[name].to_numpy(dtype=float), dtype=torch.float64)


def voted_again(
    about: Mapping[str, Any],
    rows: pd.DataFrame,
    model: Model,
    data: Data,
    where: str,
    passes: float,
    progress: Progress,
) -> Iterator[Finding]:
    """Votes drawn again, by the run's own draws, of as many images as the passes allow."""
    file, settings = f"{where}/{ROWS}", about["settings"]
    if settings.get("model_answers") is None:
        said = "the network answers otherwise from time to time, by draws of its own."
        yield unchecked(file, "votes", said)
        return
    ledger = Ledger(rows, settings, about["cells"], len(about["classes"]))
    part = next(ledger.parts)[2].set_index("index").sort_index()
    each = part["draws"].to_numpy() + ledger.chosen_by
    count = int(min(len(part), passes // max(float(each.mean()), 1)))
    if not count:
        said = (
            f"no votes were drawn again: --passes is less than the {each.mean():.0f} of an image."
        )
        yield unchecked(file, "votes", said)
        return
    places = np.unique(np.linspace(0, len(part) - 1, count).round().astype(int))
    index = torch.as_tensor(part.index.to_numpy()[places], dtype=torch.long)
    moved, total, worst, at = 0.0, 0, 0.0, -1
    with eval_mode(model), suited_threads(data.shape, model, progress=progress):
        around = ledger.config.family.around(model, ledger.config.sigma, data.shape)
        progress.start(f"{where}: draw votes again", len(index))
        for some in index.split(_AT_ONCE):
            share = Share(len(some))
            found = sampled(around, data, some, ledger.config, progress, share)
            progress.advance(len(some))
            mine = part.loc[some.numpy()]
            counted = [("votes", found.counts)]
            if "choice" in mine and found.choice is not None:
                counted.append(("choice", found.choice))
            for name, counts in counted:
                written = ledger.counts(mine[name])
                gap = _moved(written, np.asarray(counts))
                shares = gap / np.maximum(written.sum(axis=1), 1)
                moved, total = moved + float(gap.sum()), total + int(written.sum())
                if shares.max() > worst:
                    worst, at = float(shares.max()), int(some[int(shares.argmax())])
    if worst > _OF_ONE or moved > _OF_ALL * max(total, 1):
        said = (
            f"{moved:.0f} of {total} votes of {len(index)} images are others by the run's own "
            f"draws, most of image {at}."
        )
        yield contradicted(file, "votes", said)
    elif moved:
        said = (
            f"{moved:.0f} of {total} votes of {len(index)} images are others by the run's own "
            "draws, which rounding may do."
        )
        yield unchecked(file, "votes", said)
    else:
        said = f"the run's own draws give the votes of {len(index)} images again."
        yield holds(file, "votes", said)
    if len(index) < len(part):
        left = len(part) - len(index)
        said = f"the votes of {left} of {len(part)} images were not drawn again: --passes is less."
        yield unchecked(file, "votes", said)


def _moved(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) how many votes of each image went to other classes."""
    wide = max(one.shape[1], other.shape[1])
    one, other = (np.pad(t, ((0, 0), (0, wide - t.shape[1]))) for t in (one, other))
    moved: NDArray[np.float64] = np.abs(one - other).sum(axis=1) / 2
    return moved
