"""The columns of rows.csv: rules for whole columns, since rows may be millions."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from holdfast.results.forms import MOST_CLASSES


class Rule(NamedTuple):
    """What a column of rows must hold: in words, and as a test."""

    words: str
    holds: Callable[["pd.Series[Any]"], Any]


def _numbers(words: str, kinds: str, holds: Callable[["pd.Series[Any]"], Any]) -> Rule:
    return Rule(words, lambda column: column.dtype.kind in kinds and bool(holds(column).all()))


def _is_counted(text: object) -> bool:
    """Whether it says "class:value class:value ..."."""
    try:
        pairs = [each.split(":") for each in str(text).split()]
        return all(0 <= int(k) < MOST_CLASSES and 0 <= float(n) < math.inf for k, n in pairs)
    except ValueError:
        return False


_TEXTS = Rule("texts", lambda column: all(str(text).strip() for text in column.unique()))
_COUNTED = Rule(
    f"values by classes below {MOST_CLASSES}",
    lambda column: all(map(_is_counted, column.unique())),
)
_FLAGS = _numbers("True or False", "b", lambda column: column.notna())
_AMOUNTS = _numbers("whole numbers from 0", "iu", lambda column: column >= 0)
_CLASSES = _numbers(
    f"classes: whole numbers from 0, and below {MOST_CLASSES}",
    "iu",
    lambda column: (column >= 0) & (column < MOST_CLASSES),
)
_DISTANCES = _numbers("finite numbers from 0", "iuf", lambda c: (c >= 0) & np.isfinite(c))

#: What the columns of rows hold, by the command that wrote them. A name with a question mark may be
#: missing, in runs of earlier versions.
COLUMNS: Mapping[str, Mapping[str, Rule]] = {
    "evaluate": {
        "attack": _TEXTS,
        "norm": Rule(
            "linf, l2, l1, l0 or none",
            lambda column: column.isin(["linf", "l2", "l1", "l0", "none"]).all(),
        ),
        "eps": _numbers("numbers from 0", "iuf", lambda column: column >= 0),
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
        "loss?": Rule("numbers", lambda column: column.dtype.kind in "iuf"),
        "forwards": _AMOUNTS,
        "backwards": _AMOUNTS,
        "blind": _FLAGS,
        "far?": _FLAGS,
        "votes?": _AMOUNTS,
        "votes_for_prediction": _AMOUNTS,
        "votes_for_label": _AMOUNTS,
        "rank?": _AMOUNTS,
        "ahead?": _AMOUNTS,
        "found_at?": Rule(
            "sizes, and nothing for unattacked images",
            lambda column: column.dtype.kind in "iuf" and bool((column.dropna() >= 0).all()),
        ),
    },
    "certify": {
        "bound": _TEXTS,
        "interval": _TEXTS,
        "top?": _AMOUNTS,
        "index": _AMOUNTS,
        "label": _CLASSES,
        "prediction": _numbers(
            f"whole numbers from -1, and below {MOST_CLASSES}",
            "iu",
            lambda column: (column >= -1) & (column < MOST_CLASSES),
        ),
        "radius": _DISTANCES,
        "abstained?": _FLAGS,
        "draws?": _AMOUNTS,
        "votes?": _COUNTED,
        "choice?": _COUNTED,
        "scores?": _COUNTED,
    },
    "diagnose": {"cell": _AMOUNTS, "index": _AMOUNTS},
}


def amounts_of_later_versions(kind: str) -> list[str]:
    """Columns of whole numbers that rows of an earlier version may lack."""
    columns = COLUMNS.get(kind, {})
    return [name[:-1] for name, rule in columns.items() if name.endswith("?") and rule is _AMOUNTS]
