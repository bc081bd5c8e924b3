"""What a finished run must say for whatever reads it, checked before anything else is done.

A run.json or rows.csv that fell short of this was changed by hand, damaged, or not written by
Holdfast; it is one sentence, which names the place, what stands there and what must.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import pandas as pd

from holdfast.errors import DamagedFileError
from holdfast.results.reading import ABOUT, CLEAN, ROWS, digest_of, read_about, read_rows

#: How tables name a classifier under noise of each family.
TITLES: Mapping[str, str] = {
    "gaussian": "noise",
    "laplace": "laplace noise",
    "first-layer": "noise behind the first layer",
    "sound-gaussian": "sound noise",
}


class Limits(NamedTuple):
    """What confidence limits are good for.

    Attributes:
        guaranteed: whether they hold with the stated confidence.
        of_votes: whether they are about the majority vote, and not about mean scores.
    """

    guaranteed: bool = True
    of_votes: bool = True


#: As most are.
PROVEN = Limits()

#: Intervals of images that each have a number of votes of their own.
OF_OWN_VOTES = frozenset({"sequential", "input-specific"})

#: Of runs whose cells do not say, by the name of the interval.
_LIMITS_BEFORE: Mapping[str, Limits] = {
    "clopper-pearson": PROVEN,
    "two-sample": PROVEN,
    "sequential": PROVEN,
    "hoeffding": Limits(of_votes=False),
    "sison-glaz": Limits(guaranteed=False),
}

_NORMS = ("linf", "l2", "l1", "l0")
_LARGEST = 2**53  # up to which integers and floats are each other


class Rule(NamedTuple):
    """What a value must be: in words, and as a test."""

    words: str
    holds: Callable[[Any], bool]


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(words: str, holds: Callable[[float], bool]) -> Rule:
    return Rule(words, lambda value: _is_number(value) and abs(value) < _LARGEST and holds(value))


def _whole(least: int) -> Rule:
    words = f"a whole number of at least {least}"
    return _number(words, lambda value: isinstance(value, int) and value >= least)


def _one_of(names: tuple[str, ...]) -> Rule:
    return Rule(f"one of {', '.join(names)}", lambda value: value in names)


def _list_of(rule: Rule, least: int = 0) -> Rule:
    words = f"a list, each {rule.words}" + (f", at least {least} of them" if least else "")
    return Rule(
        words,
        lambda value: (
            isinstance(value, list) and len(value) >= least and all(map(rule.holds, value))
        ),
    )


def _or_null(rule: Rule) -> Rule:
    return Rule(f"{rule.words} or null", lambda value: value is None or rule.holds(value))


_TEXT = Rule("a text", lambda value: isinstance(value, str) and bool(value.strip()))
_SHARE = _number("a number from 0 to 1", lambda value: 0 <= value <= 1)
_SIZE = _number("a number of at least 0", lambda value: value >= 0)
_DEVIATION = _number("a number above 0", lambda value: value > 0)
_FLAG = Rule("true or false", lambda value: isinstance(value, bool))
_OBJECT = Rule("an object", lambda value: isinstance(value, dict))
_COUNTS = Rule(
    "an object of whole numbers",
    lambda value: isinstance(value, dict) and all(map(_whole(0).holds, value.values())),
)

_COSTS = Rule(
    "forwards and backwards by what took them",
    lambda value: (
        isinstance(value, dict)
        and all(
            _COUNTS.holds(each) and {"forwards", "backwards"} <= each.keys()
            for each in value.values()
        )
    ),
)

_MEASURED = Rule(
    "numbers as values, and within what they are equal",
    lambda value: (
        isinstance(value, dict)
        and _list_of(_number("a number", math.isfinite)).holds(value.get("values"))
        and _SIZE.holds(value.get("within"))
    ),
)

_IN_CHECK = ("id", "title", "verdict", "said", "why", "then")
_AUDIT = Rule(
    "a verdict, a sentence, and checks with their texts",
    lambda value: (
        isinstance(value, dict)
        and all(_TEXT.holds(value.get(name)) for name in ("verdict", "sentence", "about"))
        and isinstance(value.get("checks"), list)
        and all(
            isinstance(check, dict)
            and all(_TEXT.holds(check.get(name)) for name in _IN_CHECK)
            and _or_null(_number("a number", math.isfinite)).holds(check.get("value"))
            and _number("a number", math.isfinite).holds(check.get("threshold"))
            for check in value["checks"]
        )
    ),
)

#: By kind of run: what stands in run.json, in its settings, and in each of its cells and rows. A
#: name with a question mark may be missing, in runs of earlier versions.
_SETTINGS: Mapping[str, Rule] = {
    "model": _TEXT,
    "model_fingerprint": _TEXT,
    "model_answers?": _or_null(_MEASURED),
    "model_source?": _or_null(_TEXT),
    "data": _TEXT,
    "data_fingerprint": _TEXT,
    "images": _whole(1),
    "shape": _list_of(_whole(1), least=1),
    "noise?": _one_of(tuple(TITLES)),
}
_IN_ABOUT: Mapping[str, Rule] = {
    "classes": _list_of(_TEXT),
    "cells": _list_of(_OBJECT, least=1),
    "warnings?": _list_of(_TEXT),
    "audit?": _AUDIT,
    "costs?": _COSTS,
}
_IN_SETTINGS: Mapping[str, Mapping[str, Rule]] = {
    "evaluate": {
        **_SETTINGS,
        "sigma": _or_null(_DEVIATION),
        "attacks": _list_of(_OBJECT, least=1),
        "left_out?": _list_of(_TEXT),
    },
    "certify": {
        **_SETTINGS,
        "sigma": _DEVIATION,
        "norm?": _one_of(("l2", "l1")),
        "votes": _whole(1),
        "confidence": _number("a number between 0 and 1", lambda value: 0 < value < 1),
        "radii?": _list_of(_SIZE),
    },
}
#: Of a diagnosis, each of whose cells is a model, with the numbers found of it.
_IN_DIAGNOSIS: Mapping[str, Rule] = {
    "diagnosis?": _TEXT,
    "model": _list_of(_TEXT, least=1),
    "data": _TEXT,
    "images": _whole(1),
}
_IN_DIAGNOSED: Mapping[str, Rule] = {
    "cells?": _list_of(
        Rule(
            "a model and numbers",
            lambda cell: (
                isinstance(cell, dict)
                and _TEXT.holds(cell.get("model"))
                and all(
                    _or_null(_number("a number", math.isfinite)).holds(value)
                    for name, value in cell.items()
                    if name != "model"
                )
            ),
        )
    ),
}
_IN_CELL: Mapping[str, Mapping[str, Rule]] = {
    "evaluate": {
        "attack": _TEXT,
        "norm": _one_of(_NORMS),
        "eps": _or_null(_SIZE),
        "clean_accuracy": _SHARE,
        "robust_accuracy": _or_null(_SHARE),
        "broken_by?": _COUNTS,
    },
    "certify": {"guaranteed?": _FLAG, "of_votes?": _FLAG},
}
_IN_ATTACK: Mapping[str, Rule] = {"name": _TEXT, "attack": _TEXT}


def _column(words: str, kinds: str, holds: Callable[[Any], Any]) -> Rule:
    return Rule(words, lambda column: column.dtype.kind in kinds and bool(holds(column).all()))


_TEXTS = Rule("texts", lambda column: all(map(_TEXT.holds, column.unique())))
_FLAGS = _column("True or False", "b", lambda column: column.notna())
_CLASSES = _column("classes: whole numbers from 0", "iu", lambda column: column >= 0)
_AMOUNTS = _column("whole numbers from 0", "iu", lambda column: column >= 0)
_DISTANCES = _column("finite numbers from 0", "iuf", lambda c: (c >= 0) & np.isfinite(c))

_IN_ROWS: Mapping[str, Mapping[str, Rule]] = {
    "evaluate": {
        "attack": _TEXTS,
        "norm": Rule(_one_of(_NORMS).words, lambda column: column.isin([*_NORMS, "none"]).all()),
        "eps": _column("numbers from 0", "iuf", lambda column: column >= 0),
        "index": _AMOUNTS,
        "label": _CLASSES,
        "clean_prediction": _CLASSES,
        "prediction": _CLASSES,
        "fooled": _FLAGS,
        "l0?": _DISTANCES,
        "l1": _DISTANCES,
        "l2": _DISTANCES,
        "linf": _DISTANCES,
        "x_l2?": _DISTANCES,
        "x_linf?": _DISTANCES,
        "forwards": _AMOUNTS,
        "backwards": _AMOUNTS,
        "blind": _FLAGS,
        "votes_for_prediction": _AMOUNTS,
        "votes_for_label": _AMOUNTS,
        "rank?": _AMOUNTS,
        "found_at?": Rule(
            "sizes, and nothing for unattacked images",
            lambda column: column.dtype.kind in "iuf" and bool((column.dropna() >= 0).all()),
        ),
    },
    "certify": {
        "bound": _TEXTS,
        "interval": _TEXTS,
        "index": _AMOUNTS,
        "label": _CLASSES,
        "prediction": _column("whole numbers from -1", "iu", lambda column: column >= -1),
        "radius": _DISTANCES,
    },
}


def check_finished(path: Path) -> None:
    """See that the run.json of a finished run is what was written.

    Earlier versions wrote no digest; of theirs, what stands there is checked, where it is read.

    Raises:
        DamagedFileError: if it is not.
    """
    about = read_about(path)
    written = about.pop("sha256", None)
    if written is None and about["kind"] in _IN_CELL:
        check_about(path, about)
        check_rows(path, about, read_rows(path))
    if written is not None and written != digest_of(about):
        raise DamagedFileError(
            f"{path / ABOUT} is not what the run wrote: put its copy back, or repeat the run with "
            "another --out."
        )


def check_about(path: Path, about: Mapping[str, Any]) -> None:
    """Check the run.json of an evaluation or certification.

    Raises:
        DamagedFileError: naming the first place that is not what it must be.
    """
    file, kind, settings = path / ABOUT, about["kind"], about["settings"]
    _check(file, "", about, _IN_ABOUT)
    _check(file, "settings.", settings, _IN_SETTINGS[kind])
    for place, cell in enumerate(about["cells"]):
        _check(file, f"cells[{place}].", cell, _IN_CELL[kind])
    if kind == "evaluate":
        for place, attack in enumerate(settings["attacks"]):
            _check(file, f"settings.attacks[{place}].", attack, _IN_ATTACK)
        named = [attack["name"] for attack in settings["attacks"]]
        if named != [cell["attack"] for cell in about["cells"]]:
            raise _damaged(file, "settings.attacks and cells do not name the same attacks")


def check_diagnosis(path: Path, about: Mapping[str, Any]) -> None:
    """Check the run.json of a diagnosis.

    Raises:
        DamagedFileError: naming the first place that is not what it must be.
    """
    _check(path / ABOUT, "", about, _IN_DIAGNOSED)
    _check(path / ABOUT, "settings.", about["settings"], _IN_DIAGNOSIS)


def limits_of(about: Mapping[str, Any], bound: str, interval: str) -> Limits | None:
    """What the limits of a certification are good for; None if that is not known."""
    for cell in about["cells"]:
        mine = (cell.get("bound"), cell.get("interval")) == (bound, interval)
        if mine and {"guaranteed", "of_votes"} <= cell.keys():
            return Limits(cell["guaranteed"], cell["of_votes"])
    return _LIMITS_BEFORE.get(interval)


def check_rows(path: Path, about: Mapping[str, Any], rows: pd.DataFrame) -> None:
    """Check the rows of a run whose run.json has been checked: one row for each cell and image.

    Raises:
        DamagedFileError: naming the first column that is not what it must be.
    """
    file, kind = path / ROWS, about["kind"]
    for key, rule in _IN_ROWS[kind].items():
        name = key.removesuffix("?")
        if name not in rows and key != name:
            continue
        if name not in rows:
            raise _damaged(file, f"the column {name} is missing")
        if not rule.holds(rows[name]):
            raise _damaged(file, f"the column {name} must hold {rule.words}, and does not")
    images, cell = about["settings"]["images"], ["attack", "norm", "eps"]
    if kind == "certify":
        cell = ["bound", "interval"]
        if not OF_OWN_VOTES.isdisjoint(rows["interval"]):
            draws = rows.get("draws", pd.Series(dtype=object))
            if not len(draws) or not _AMOUNTS.holds(draws):
                raise _damaged(file, f"the column draws must hold {_AMOUNTS.words}, and does not")
        for bound, interval in rows[cell].drop_duplicates().itertuples(index=False, name=None):
            if limits_of(about, bound, interval) is None:
                raise _damaged(file, f"{bound} {interval} is in no cell of {ABOUT}")
    for names, part in rows.groupby(cell, sort=False):
        if not np.array_equal(np.sort(part["index"]), np.arange(images)):
            of = " ".join(str(name) for name in names)
            raise _damaged(file, f"{of} must have one row for each of the {images} images")
    if kind == "evaluate":
        expected = {
            (one["attack"], one["norm"], math.inf if one["eps"] is None else one["eps"])
            for one in about["cells"]
        }
        attacked = rows[rows["attack"] != CLEAN]
        found = set(attacked[cell].itertuples(index=False, name=None))
        if found != expected or len(expected) != len(about["cells"]):
            raise _damaged(file, f"its attacks and sizes are not the cells of {ABOUT}")
        if len(attacked) == len(rows):
            raise _damaged(file, "the rows of the unattacked images are missing")
        if (attacked["norm"] == "none").any():
            raise _damaged(file, "an attack has no norm")
    elif not len(rows):
        raise _damaged(file, "there are no certificates")


def _check(file: Path, where: str, content: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    for key, rule in rules.items():
        name = key.removesuffix("?")
        if name not in content:
            if key == name:
                raise _damaged(file, f"{where}{name} is missing")
        elif not rule.holds(content[name]):
            shown = repr(content[name])
            shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
            raise _damaged(file, f"{where}{name} is {shown}, but must be {rule.words}")


def _damaged(file: Path, what: str) -> DamagedFileError:
    return DamagedFileError(
        f"{file} is not what a run writes: {what}; put its copy back, or repeat the run with "
        "another --out."
    )
