"""The settings of a run: what rows and cells tell of them, and what only running again can show."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from holdfast import metrics
from holdfast.bundle.finding import Finding, contradicted, holds, unchecked
from holdfast.bundle.same import short
from holdfast.evaluation.rows import NOBODY
from holdfast.results import ABOUT, CLEAN, ROWS

#: How the balls of an attack stand in its repr.
_BALL = re.compile(r"\b(Linf|L2|L1|L0)\(eps=([^(),]+)\)")

#: Settings that rows and cells tell of again, and those that the model and the images tell of.
_OF_ROWS = {
    "evaluate": frozenset({"model", "images"}),
    "certify": frozenset(
        {"model", "images", "votes", "selection_votes", "confidence", "bounds", "intervals"}
        | {"radii", "top"}
    ),
}
_OF_MODEL = frozenset(
    {"model_fingerprint", "model_answers", "model_source", "data_fingerprint", "shape"}
)

#: Settings by which votes are drawn again, where there are any.
_OF_VOTES = frozenset({"sigma", "noise", "seed", "votes", "stochastic"})


def of_attacks(about: Mapping[str, Any], rows: pd.DataFrame, where: str) -> Iterator[Finding]:
    """What an evaluation's settings say, as far as its cells and rows tell of it."""
    file = f"{where}/{ABOUT}"
    wrong = [*_balls(about), *_votes(about, rows), *_left_alone(about, rows)]
    for text in wrong:
        yield contradicted(file, "settings", text)
    if not wrong:
        said = "norms and sizes of the attacks, votes and images left alone are those of the rows."
        yield holds(file, "settings", said)
    yield from _broken_by(about, rows, where)


def untold(about: Mapping[str, Any], asked: bool, where: str) -> Iterator[Finding]:
    """The settings that nothing here can tell of again, by their names.

    Args:
        about: what run.json says.
        asked: whether the model is asked again.
        where: the run.
    """
    settings, known = about["settings"], _OF_ROWS[about["kind"]]
    if asked:
        known |= _OF_MODEL
        if about["kind"] == "certify" or settings.get("stochastic", False):
            known |= _OF_VOTES
    left = {name: value for name, value in settings.items() if name not in known}
    if left:
        told = ", ".join(map(_told, left, left.values()))
        alone = "running it again" if asked else "its model, its images or running it again"
        said = f"that the run had these settings is nowhere in its rows; {alone} tells: {told}."
        yield unchecked(f"{where}/{ABOUT}", "settings", said)


def _told(name: str, value: object) -> str:
    """A setting by its name; one that is a word or a number also by that."""
    if isinstance(value, str | int | float) or value is None:
        return f"{name} {short(value)}"
    return name


def _balls(about: Mapping[str, Any]) -> Iterator[str]:
    """Every attack names the ball of its cell, if it names any; a stranger's may name none."""
    for one, cell in zip(about["settings"]["attacks"], about["cells"], strict=True):
        balls = {(norm.lower(), _number(eps)) for norm, eps in _BALL.findall(one["attack"])}
        mine = cell["norm"], math.inf if cell["eps"] is None else float(cell["eps"])
        if balls and mine not in balls:
            yield (
                f"the attack of {metrics.title(cell['attack'], *mine)} is recorded as "
                f"{one['attack']!r:.120}, within another ball."
            )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _votes(about: Mapping[str, Any], rows: pd.DataFrame) -> Iterator[str]:
    """Predictions are by as many votes as the settings say: of what does not draw by one."""
    settings = about["settings"]
    if "stochastic" not in settings:  # in runs of earlier versions
        return
    if settings["sigma"] is not None and not settings["stochastic"]:
        yield (
            f"sigma is {settings['sigma']}, and stochastic is false: what has noise in front draws."
        )
    if "votes" in rows and "votes" in settings:
        votes = settings["votes"] if settings["stochastic"] else 1
        other = rows.loc[rows["votes"] != votes, "votes"]
        if len(other):
            yield f"by its settings each row has {votes} votes, and {len(other)} rows have others."


def _left_alone(about: Mapping[str, Any], rows: pd.DataFrame) -> Iterator[str]:
    """What was wrong without an attack was left alone, unless all images were attacked."""
    if "attack_all" not in about["settings"]:
        return
    attacked, every = rows[rows["attack"] != CLEAN], bool(about["settings"]["attack_all"])
    passes = attacked["forwards"] + attacked["backwards"]
    wrong = attacked["clean_prediction"] != attacked["label"]
    tried = int((wrong & (passes > 0)).sum())
    if tried and not every:
        yield (
            f"attack_all is false, and {tried} rows of images that were wrong without an attack "
            "have passes of one."
        )
    if every and wrong.any() and not tried and (passes > 0).any():
        yield "attack_all is true, and no image that was wrong without an attack met one."


def _broken_by(about: Mapping[str, Any], rows: pd.DataFrame, where: str) -> Iterator[Finding]:
    """Who broke an image is the attack of the row, or one of the parts that its cell records."""
    if "by" not in rows:
        return
    file, wrong = f"{where}/{ROWS}", 0
    cells = {
        (one["attack"], one["norm"], math.inf if one["eps"] is None else float(one["eps"])): one
        for one in about["cells"]
    }
    for (name, norm, eps), part in rows.groupby(metrics.CELL, sort=False):
        parts = cells.get((name, norm, float(eps)), {}).get("broken_by", {})
        other = part[~part["by"].isin({NOBODY, CLEAN, name, *parts})]
        if len(other):
            wrong += 1
            first = other.iloc[0]
            said = f"image {first['index']} under {name} fell to {first['by']!r}, no part of it."
            yield contradicted(file, "rows", said)
    if not wrong:
        yield holds(file, "rows", "images fell to the attacks of their rows, or parts of these.")
