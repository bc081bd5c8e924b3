"""What stands in run.json and rows.csv, and what a stranger's must say to be read.

The forms of run.json are types, against which msgspec holds what was read; those of rows.csv are
rules for whole columns, since rows may be millions. Names that are in no form may stand there, and
`NotRequired` ones are missing in runs of earlier versions.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import numpy as np
import pandas as pd
from msgspec import Meta

from holdfast.auditing.check import Check
from holdfast.errors import DamagedFileError
from holdfast.files import fitted

ABOUT = "run.json"
ROWS = "rows.csv"

#: The name under which the rows of unattacked images stand.
CLEAN = "clean"

#: How tables name a classifier under noise of each family.
TITLES: Mapping[str, str] = {
    "gaussian": "noise",
    "laplace": "laplace noise",
    "first-layer": "noise behind the first layer",
    "sound-gaussian": "sound noise",
}

#: The most classes that votes may be for, so that no table of them is larger than memory.
MOST_CLASSES = 2**16

_MEND = "put its copy back, or repeat the run with another --out"
_LARGEST = 2**53  # up to which integers and floats are each other

Text = Annotated[str, Meta(pattern=r"\S")]
Number = Annotated[float, Meta(gt=-_LARGEST, lt=_LARGEST)]
Size = Annotated[float, Meta(ge=0, lt=_LARGEST)]
Deviation = Annotated[float, Meta(gt=0, lt=_LARGEST)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, lt=_LARGEST)]
Positive = Annotated[int, Meta(ge=1, lt=_LARGEST)]
Norm = Literal["linf", "l2", "l1", "l0"]
Noise = Literal["gaussian", "laplace", "first-layer", "sound-gaussian"]


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


class _Hardware(TypedDict):
    cores: NotRequired[int | None]
    accelerator: NotRequired[str | None]


class About(TypedDict):
    """The run.json of any run, also of one that is not finished."""

    kind: Text
    complete: bool
    settings: dict[str, Any]
    versions: NotRequired[dict[str, str]]
    hardware: NotRequired[_Hardware]
    command: NotRequired[str | None]
    rows_sha256: NotRequired[Text | None]
    sha256: NotRequired[Text]


class _Measured(TypedDict):
    values: list[Number]
    within: Size


class _Audit(TypedDict):
    verdict: Literal["believable", "doubtful", "not believable"]
    sentence: Text
    about: str
    passes: Count
    limit: Count | None
    checks: list[Check]


class _OfModel(TypedDict):
    model: Text
    model_fingerprint: Text
    model_answers: NotRequired[_Measured | None]
    model_source: NotRequired[Text | None]
    data: Text
    data_fingerprint: Text
    images: Positive
    shape: Annotated[list[Positive], Meta(min_length=1)]
    noise: NotRequired[Noise]
    seed: NotRequired[int]
    batch_size: NotRequired[Positive | Literal["auto"]]


class _Results(TypedDict):
    batch_size: NotRequired[Positive]  # that was chosen, where it was to be
    classes: list[Text]
    warnings: NotRequired[list[Text]]
    audit: NotRequired[_Audit]


class _Pilot(TypedDict):
    parts: Annotated[list[Text], Meta(min_length=1)]
    images: Positive


class _Attack(TypedDict):
    name: Text
    attack: Text
    pilot: NotRequired[_Pilot]


class _Attacked(_OfModel):
    sigma: Deviation | None
    attacks: Annotated[list[_Attack], Meta(min_length=1)]
    left_out: NotRequired[list[Text]]
    votes: NotRequired[Positive]
    samples: NotRequired[Positive]
    penalties: NotRequired[list[Number]]
    variants: NotRequired[list[Text]]
    each: NotRequired[bool]
    stochastic: NotRequired[bool]
    share_sizes: NotRequired[bool]
    keep_images: NotRequired[Count]
    found: NotRequired[list[dict[str, Any]]]


class _Spared(TypedDict):
    parts: Annotated[list[Text], Meta(min_length=1)]
    tried: Positive
    left: Positive
    at_most: Share
    confidence: Share


class _AttackedCell(TypedDict):
    model: Text
    attack: Text
    norm: Norm
    eps: Size | None
    n: Positive
    clean_accuracy: Share
    robust_accuracy: Share | None
    low: Share | None
    high: Share | None
    median_distance: Size | None
    seconds: NotRequired[Size]
    broken_by: NotRequired[dict[str, Count]]
    skipped: NotRequired[dict[str, str]]
    noted: NotRequired[dict[str, Count]]
    spared: NotRequired[_Spared]


class _Passes(TypedDict):
    forwards: Count
    backwards: Count


class _Evaluation(_Results):
    settings: _Attacked
    cells: Annotated[list[_AttackedCell], Meta(min_length=1)]
    costs: NotRequired[dict[str, _Passes]]


class _Certified(_OfModel):
    sigma: Deviation
    norm: NotRequired[Norm]
    votes: Positive
    selection_votes: NotRequired[Count]
    confidence: Annotated[float, Meta(gt=0, lt=1)]
    bounds: NotRequired[Text | list[Text]]  # a text in versions that knew one
    intervals: NotRequired[Text | list[Text]]
    radii: NotRequired[list[Size]]
    within: NotRequired[Share | None]
    between: NotRequired[list[Size] | None]


class _Reached(TypedDict):
    radius: Size


class _CertifiedCell(TypedDict):
    model: Text
    sigma: Deviation
    images: Positive
    confidence: Share
    noise: NotRequired[Noise]
    norm: NotRequired[Norm]
    at: NotRequired[list[_Reached]]
    bound: NotRequired[Text]
    interval: NotRequired[Text]
    accuracy: Share
    abstained: Share
    curve: Annotated[list[tuple[Size, Share]], Meta(min_length=1)]
    guaranteed: NotRequired[bool]
    of_votes: NotRequired[bool]
    seconds: NotRequired[Size]


class _Certification(_Results):
    settings: _Certified
    cells: Annotated[list[_CertifiedCell], Meta(min_length=1)]


class _Looked(TypedDict):
    diagnosis: NotRequired[Text]
    model: Annotated[list[Text], Meta(min_length=1)]
    data: Text
    images: Positive


class _Diagnosis(TypedDict):
    settings: _Looked
    cells: NotRequired[list[dict[str, Text | Number | None]]]


class _Trained(TypedDict):
    data: Text
    data_fingerprint: Text
    images: Positive
    held_out: Count
    seed: int


class _Training(TypedDict):
    settings: _Trained
    last_epoch: NotRequired[dict[str, float | None]]


class _Trial(TypedDict):
    steps: Positive
    alpha: Number
    delta: Number
    anneal: Number
    clean_accuracy: Share
    transfer_accuracy: Share | None
    first_accuracy: Share | None
    robust_accuracy: Share | None


class _Tuned(TypedDict):
    images: Positive


class _Tuning(TypedDict):
    settings: _Tuned
    best: _Trial
    trials: list[_Trial]
    first_images: Count
    finalist_images: Count


class _Study(TypedDict):
    runs: list[Text]


#: What the run.json of a finished run holds, by the command that wrote it.
_FORMS: Mapping[str, Any] = {
    "evaluate": _Evaluation,
    "certify": _Certification,
    "diagnose": _Diagnosis,
    "train": _Training,
    "tune": _Tuning,
    "study": _Study,
}


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
_COLUMNS: Mapping[str, Mapping[str, Rule]] = {
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


def check_about(path: Path, content: Mapping[str, Any]) -> None:
    """Check what the run.json of a run says; of a finished one, all that is read of it.

    Raises:
        DamagedFileError: naming the first place that is not what it must be.
    """
    file = path / ABOUT
    about = fitted(content, About, file, _MEND)
    if not about["complete"] or about["kind"] not in _FORMS:
        return
    fitted(content, _FORMS[about["kind"]], file, _MEND)
    if about["kind"] == "evaluate":
        named = [attack["name"] for attack in content["settings"]["attacks"]]
        if named != [cell["attack"] for cell in content["cells"]]:
            raise _damaged(file, "settings.attacks and cells do not name the same attacks")


def limits_of(about: Mapping[str, Any], bound: str, interval: str) -> Limits | None:
    """What the limits of a certification are good for; None if that is not known."""
    for cell in about["cells"]:
        mine = (cell.get("bound"), cell.get("interval")) == (bound, interval)
        if mine and {"guaranteed", "of_votes"} <= cell.keys():
            return Limits(cell["guaranteed"], cell["of_votes"])
    return _LIMITS_BEFORE.get(interval)


def check_rows(path: Path, about: Mapping[str, Any], rows: pd.DataFrame) -> None:
    """Check the rows of a finished run: one row for each cell and image.

    Raises:
        DamagedFileError: naming the first column that is not what it must be.
    """
    file, kind = path / ROWS, about["kind"]
    for key, rule in _COLUMNS.get(kind, {}).items():
        name = key.removesuffix("?")
        if name not in rows and key == name:
            raise _damaged(file, f"the column {name} is missing")
        if name in rows and not rule.holds(rows[name]):
            raise _damaged(file, f"the column {name} must hold {rule.words}, and does not")
    if kind == "evaluate":
        _check_images(file, rows, ["attack", "norm", "eps"], about["settings"]["images"])
        _check_attacked(file, about, rows)
    if kind == "certify":
        _check_images(file, rows, ["bound", "interval"], about["settings"]["images"])
        _check_certified(file, about, rows)


def _check_images(file: Path, rows: pd.DataFrame, cell: list[str], images: int) -> None:
    for names, part in rows.groupby(cell, sort=False):
        if len(part) != images or not np.array_equal(np.sort(part["index"]), np.arange(images)):
            of = " ".join(str(name) for name in names)
            raise _damaged(file, f"{of} must have one row for each of the {images} images")


def _check_attacked(file: Path, about: Mapping[str, Any], rows: pd.DataFrame) -> None:
    expected = {
        (one["attack"], one["norm"], math.inf if one["eps"] is None else one["eps"])
        for one in about["cells"]
    }
    attacked = rows[rows["attack"] != CLEAN]
    found = set(attacked[["attack", "norm", "eps"]].itertuples(index=False, name=None))
    if found != expected or len(expected) != len(about["cells"]):
        raise _damaged(file, f"its attacks and sizes are not the cells of {ABOUT}")
    if len(attacked) == len(rows):
        raise _damaged(file, "the rows of the unattacked images are missing")


def _check_certified(file: Path, about: Mapping[str, Any], rows: pd.DataFrame) -> None:
    if not len(rows):
        raise _damaged(file, "there are no certificates")
    if not OF_OWN_VOTES.isdisjoint(rows["interval"]) and "draws" not in rows:
        raise _damaged(file, "the column draws is missing")
    for bound, interval in rows[["bound", "interval"]].drop_duplicates().to_numpy():
        if limits_of(about, bound, interval) is None:
            raise _damaged(file, f"{bound} {interval} is in no cell of {ABOUT}")


def _damaged(file: Path, what: str) -> DamagedFileError:
    return DamagedFileError(f"{file} is not what Holdfast writes: {what}; {_MEND}.")
