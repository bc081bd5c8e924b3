"""Numbers of evaluations and certifications by the field's names: accuracy, error, certified.

Each is a mean over images of what a run's rows say of them.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from holdfast.errors import InputError
from holdfast.reproduce.measures import Mean
from holdfast.reproduce.steps import Step
from holdfast.results import CLEAN, read_images


def _several(steps: Step | Sequence[Step]) -> tuple[Step, ...]:
    return (steps,) if isinstance(steps, Step) else tuple(steps)


def _fraction(steps: tuple[Step, ...], of: Callable[[pd.DataFrame], "pd.Series[float]"]) -> Mean:
    return Mean(steps, of, fraction=True)


def _attacked(rows: pd.DataFrame, attack: str | None, eps: float | None) -> pd.DataFrame:
    """The rows of one attack at one size.

    Raises:
        InputError: if none or several are meant.
    """
    part = rows[rows["attack"] != CLEAN]
    if attack is not None:
        part = part[part["attack"] == attack]
    if eps is not None:
        part = part[np.isclose(part["eps"], eps)]
    if part.empty or part["index"].duplicated().any():
        found = rows[["attack", "eps"]].drop_duplicates().to_dict(orient="records")
        raise InputError(
            f"attack {attack} at eps {eps} is not one cell of this evaluation, which has {found}; "
            "correct the recipe."
        )
    return part.set_index("index").sort_index()


def accuracy(
    steps: Step | Sequence[Step], attack: str | None = None, eps: float | None = None
) -> Mean:
    """Robust accuracy: the fraction of all images that is right after an attack.

    Args:
        steps: evaluations, of a seed each.
        attack: as typed; may be left out if there is one.
        eps: its size; may be left out if there is one.

    Example:
        >>> from holdfast.reproduce import accuracy, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> accuracy(attacked, "pgd").steps == (attacked,)
        True
    """
    return _fraction(_several(steps), lambda rows: ~_attacked(rows, attack, eps)["fooled"])


def accuracy_within(
    steps: Step | Sequence[Step], size: float, norm: str, attack: str | None = None
) -> Mean:
    """Robust accuracy at a size, of an attack that looks for the smallest perturbation.

    It runs once without a limit, and one run answers for all sizes: an image falls at a size if
    what was found for it is no larger.

    Args:
        steps: evaluations, of a seed each, with ``eps`` infinite.
        size: of the ball.
        norm: "linf", "l2", "l1" or "l0".
        attack: as typed; may be left out if there is one.

    Example:
        >>> from holdfast.reproduce import accuracy_within, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> nearest = evaluate("e", model=net, attacks=["ddn"], norm="l2", eps=float("inf"))
        >>> accuracy_within(nearest, 0.5, "l2").steps == (nearest,)
        True
    """

    def left(rows: pd.DataFrame) -> "pd.Series[float]":
        part = _attacked(rows, attack, math.inf)
        return ~(part["fooled"] & (part[norm] <= size))

    return _fraction(_several(steps), left)


def error(
    steps: Step | Sequence[Step],
    attack: str | None = None,
    eps: float | None = None,
    *,
    top: int = 1,
) -> Mean:
    """The fraction of all images that is wrong after an attack, as EAT counts.

    Images that were wrong before count by what the model says after it, if ``attack_all`` had them
    attacked too: some an attack puts right. See `robust_error`, to which they stay wrong.

    Args:
        steps: evaluations, of a seed each.
        attack: as typed; may be left out if there is one.
        eps: its size; may be left out if there is one.
        top: an answer is wrong if so many classes at least are preferred to the label, after the
            attack alone. One that stops once another class is first leaves it to chance how many:
            by 5, this is a lower limit of what an attack on the first five would reach.

    Example:
        >>> from holdfast.reproduce import error, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> error(attacked, "pgd").steps == (attacked,)
        True
    """
    return _fraction(_several(steps), lambda rows: _attacked(rows, attack, eps)["rank"] >= top)


def robust_error(
    steps: Step | Sequence[Step],
    attack: str | None = None,
    eps: float | None = None,
    *,
    top: int = 1,
) -> Mean:
    """The fraction of all images that is wrong before or after an attack: 1 - robust accuracy.

    Never less than `error`, of the same rows.

    Args:
        steps: evaluations, of a seed each.
        attack: as typed; may be left out if there is one.
        eps: its size; may be left out if there is one.
        top: see `error`; before the attack, too. By 5 it is 1 - the robust top-5 accuracy of
            `holdfast.evaluate`.

    Example:
        >>> from holdfast.reproduce import evaluate, robust_error, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> robust_error(attacked, "pgd").steps == (attacked,)
        True
    """

    def wrong(rows: pd.DataFrame) -> "pd.Series[bool]":
        part = _attacked(rows, attack, eps)
        if top == 1:
            return part["fooled"]
        before = rows[rows["attack"] == CLEAN].set_index("index")["rank"]
        return (part["rank"] >= top) | (before.loc[part.index] >= top)

    return _fraction(_several(steps), wrong)


def clean_accuracy(steps: Step | Sequence[Step]) -> Mean:
    """Accuracy on the images as they are, of an evaluation.

    Example:
        >>> from holdfast.reproduce import clean_accuracy, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> clean_accuracy(attacked).steps == (attacked,)
        True
    """

    def right(rows: pd.DataFrame) -> "pd.Series[float]":
        part = rows[rows["attack"] == CLEAN].set_index("index").sort_index()
        return ~part["fooled"]

    return _fraction(_several(steps), right)


def clean_error(steps: Step | Sequence[Step]) -> Mean:
    """The fraction of the images that is wrong as they are, of an evaluation.

    Example:
        >>> from holdfast.reproduce import clean_error, evaluate, train
        >>> attacked = evaluate("e", model=train("net", model="small"), attacks="pgd")
        >>> clean_error(attacked).steps == (attacked,)
        True
    """
    right = clean_accuracy(steps)
    return _fraction(right.steps, lambda rows: 1.0 - right.of(rows).astype(float))


def perturbation(
    steps: Step | Sequence[Step], norm: str = "l2", attack: str | None = None, *, relative: bool
) -> Mean:
    """The mean size of the perturbation that an attack needed; relative to the image's (DD eq. 7).

    Images that were wrong already count as 0; those that the attack could not fool are left out.

    Example:
        >>> from holdfast.reproduce import evaluate, perturbation, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> perturbation(attacked, "linf", "pgd", relative=True).steps == (attacked,)
        True
    """

    def moved(rows: pd.DataFrame) -> "pd.Series[float]":
        part = _attacked(rows, attack, None)
        part = part[part["fooled"]]
        return part[norm] / part[f"x_{norm}"] if relative else part[norm]

    return Mean(_several(steps), moved)


def gradient_norm(steps: Step | Sequence[Step], attack: str, iteration: int | None = None) -> Mean:
    """Mean norm of the exact gradient along an attack, from ``diagnose gradient-norm``.

    Args:
        steps: diagnoses of one network each, of a seed each.
        attack: as typed.
        iteration: from 0, the image itself; the mean over all of them if none is named.

    Example:
        >>> from holdfast.reproduce import diagnose, gradient_norm, train
        >>> net = train("net", model="small", epochs=1)
        >>> pgd = "pgd(early_stop=False)"
        >>> traced = diagnose("gradient-norm", "t", model=net, attacks=[pgd], eps=0.1)
        >>> gradient_norm(traced, pgd, iteration=0).steps == (traced,)
        True
    """

    def table(folder: Path) -> pd.DataFrame:
        return pd.DataFrame(read_images(folder, 0, attack)[attack].numpy())

    def norms(of: pd.DataFrame) -> "pd.Series[float]":
        return of.mean(axis=1) if iteration is None else of[iteration]

    return Mean(_several(steps), norms, table)


def certified(
    steps: Step | Sequence[Step],
    radius: float,
    bound: str | None = None,
    interval: str | None = None,
) -> Mean:
    """Certified accuracy: the fraction that is right and certified at least as far as ``radius``.

    Args:
        steps: certifications, of a seed each.
        radius: in the norm of the certificate; 0 for right and not abstained.
        bound: may be left out if there is one.
        interval: may be left out if there is one.

    Example:
        >>> from holdfast.reproduce import certified, certify, train
        >>> proven = certify("c", model=train("stn", model="small"), sigma=0.3, votes=100)
        >>> certified(proven, 0.5).steps == (proven,)
        True
    """

    def proven(rows: pd.DataFrame) -> "pd.Series[float]":
        part = rows
        for column, chosen in (("bound", bound), ("interval", interval)):
            part = part if chosen is None else part[part[column] == chosen]
        if part.empty or part["index"].duplicated().any():
            raise InputError(
                f"bound {bound} with interval {interval} is not one certificate of this run; "
                "correct the recipe."
            )
        part = part.set_index("index").sort_index()
        right = (part["prediction"] == part["label"]) & ~part["abstained"]
        return right & (part["radius"] >= radius)

    return _fraction(_several(steps), proven)
