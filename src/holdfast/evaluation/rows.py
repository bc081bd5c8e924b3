"""The rows that an attack leaves: for each image what it made of it, spent, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from holdfast.errors import InputError
from holdfast.evaluation.asking import Answer, Batch
from holdfast.parameters import check
from holdfast.results import CLEAN
from holdfast.tensors import distances, norm
from holdfast.types import Images, Threat

#: Who broke an image that is robust.
NOBODY = "none"

#: What an attack cannot be called: the words of the rows.
_RESERVED = frozenset({CLEAN, NOBODY, ""})


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
class Effort:
    """What an attack spent on each image, and whether it saw anything."""

    forwards: Tensor  # (N,) forward passes
    backwards: Tensor  # (N,) backward passes
    blind: Tensor  # (N,) whether no gradient that it looked at showed a way; see `Crafted`
    far: Tensor  # (N,) whether a cascade found the image far from falling; see `Worst`

    @classmethod
    def none(cls, index: Tensor) -> "Effort":
        """Nothing was spent."""
        nothing = torch.zeros_like(index)
        return cls(nothing, nothing, nothing.bool(), nothing.bool())


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


def lengths(x: Images) -> dict[str, Tensor]:
    """(N,) how long clean images are, by the column: what perturbations are relative to."""
    exact = x.cpu().double()
    return {"x_l2": norm(exact, 2), "x_linf": norm(exact, torch.inf)}


def rows_of(
    attack: str,
    threat: Threat | None,
    batch: Batch,
    clean: Tensor,
    answer: Answer,
    x_adv: Images,
    effort: Effort,
    votes: int,
) -> pd.DataFrame:
    """One row for each image of a batch.

    Args:
        attack: its name.
        threat: what it was allowed; None for the unattacked images.
        batch: the images as they were.
        clean: (N,) the model's predictions on these.
        answer: what the model says of the attacked ones.
        x_adv: the attacked ones.
        effort: what was spent on each.
        votes: draws that decided each prediction.
    """
    x, y = batch.x, batch.y
    columns = {
        "index": batch.index,
        "label": y,
        "clean_prediction": clean,
        "prediction": answer.prediction,
        "fooled": answer.prediction != y,
        **distances(x_adv, x),
        **lengths(x),
        "loss": answer.loss,
        "forwards": effort.forwards,
        "backwards": effort.backwards,
        "blind": effort.blind,
        "far": effort.far,
        "votes": torch.full_like(y, votes),
        "votes_for_prediction": answer.votes_for_prediction,
        "votes_for_label": answer.votes_for_label,
        "rank": answer.rank,
        "ahead": answer.ahead,
    }
    rows = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
    rows.insert(0, "attack", attack)
    rows.insert(1, "norm", "none" if threat is None else threat.name)
    rows.insert(2, "eps", 0.0 if threat is None else threat.eps)
    return rows
