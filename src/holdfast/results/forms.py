"""The forms of run.json: types, against which msgspec holds what was read.

Names that are in no form may stand there, and `NotRequired` ones are missing in runs of earlier
versions.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from holdfast.auditing.check import Check
from holdfast.parameters import EXACT

#: The most classes that votes may be for, so that no table of them is larger than memory.
MOST_CLASSES = 2**16

Text = Annotated[str, Meta(pattern=r"\S")]
Number = Annotated[float, Meta(gt=-EXACT, lt=EXACT)]
Size = Annotated[float, Meta(ge=0, lt=EXACT)]
Deviation = Annotated[float, Meta(gt=0, lt=EXACT)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, lt=EXACT)]
Positive = Annotated[int, Meta(ge=1, lt=EXACT)]
Norm = Literal["linf", "l2", "l1", "l0"]
Noise = Literal["gaussian", "laplace", "first-layer", "sound-gaussian"]


class _Hardware(TypedDict):
    processor: NotRequired[str | None]
    cores: NotRequired[int | None]
    accelerator: NotRequired[str | None]


class About(TypedDict):
    """The run.json of any run, also of one that is not finished."""

    kind: Text
    complete: bool
    settings: dict[str, Any]
    format: NotRequired[Count]
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
    images: Positive
    near: Annotated[list[Number], Meta(min_length=1)]


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
    tried: Count
    far: Positive
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
    clean_top5: NotRequired[Share]  # and what else is said of five, of more than ten classes
    robust_top5: NotRequired[Share | None]
    top5_low: NotRequired[Share | None]
    top5_high: NotRequired[Share | None]
    top: NotRequired[Positive]  # first classes that the attack pushes the label out of, if several
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
    top: NotRequired[Positive | None]
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
    top: NotRequired[Positive]  # where what is certified is to be among so many classes
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
    model_fingerprint: NotRequired[Text]  # of the network that it made


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
    model_fingerprint: NotRequired[Text]


class _Study(TypedDict):
    runs: list[Text]


#: What the run.json of a finished run holds, by the command that wrote it.
FORMS: Mapping[str, Any] = {
    "evaluate": _Evaluation,
    "certify": _Certification,
    "diagnose": _Diagnosis,
    "train": _Training,
    "tune": _Tuning,
    "study": _Study,
}
