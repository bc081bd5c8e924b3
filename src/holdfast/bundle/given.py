"""The images and the model that were given, held against what a run recorded of its own."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from holdfast.bundle.finding import Finding, contradicted, holds
from holdfast.data import Data
from holdfast.evaluation.rows import lengths
from holdfast.models.identity import identify
from holdfast.results import ABOUT, ROWS, same
from holdfast.types import Model

#: Images that are read at once.
_AT_ONCE = 128

#: Up to which a length in float64 is the one that was measured.
_SAME = 1e-6


def same_model(about: Mapping[str, Any], model: Model, data: Data, where: str) -> Iterator[Finding]:
    """Whether model and images are those that a run recorded, by all that it recorded of them."""
    settings, file = about["settings"], f"{where}/{ABOUT}"
    now = {**identify(model, data), "data_fingerprint": data.fingerprint()}
    if settings["data_fingerprint"] != now["data_fingerprint"]:
        said = "the images or labels that were given are others than the run's."
        yield contradicted(file, "data", said)
        return
    wrong = [
        name
        for name, value in now.items()
        if value is not None and settings.get(name) is not None and not same(settings[name], value)
    ]
    for name in wrong:
        said = f"{name} is not that of the model that was given, whose weights are the run's."
        yield contradicted(file, "model", said)
    if not wrong:
        said = "weights, answers and images are those that were given."
        yield holds(file, "model", said)


def same_labels(rows: pd.DataFrame, data: Data, where: str) -> Iterator[Finding]:
    """Whether rows have the labels of the data, by which all accuracies are."""
    file = f"{where}/{ROWS}"
    labels = data.y.cpu().numpy()[rows["index"].to_numpy()]
    bad = rows[rows["label"].to_numpy() != labels]
    if len(bad):
        said = f"image {_first(bad)}: the label is not that of the data."
        yield contradicted(file, "labels", said)
    else:
        yield holds(file, "labels", f"{rows['index'].nunique()} images have the data's labels.")


def same_lengths(rows: pd.DataFrame, data: Data, where: str) -> Iterator[Finding]:
    """Whether rows have the lengths of the data's images, which relative sizes are divided by."""
    file, wrong = f"{where}/{ROWS}", 0
    parts = [
        pd.DataFrame({k: v.numpy() for k, v in lengths(data.x(index)).items()}, index=index.numpy())
        for index in data.batches(_AT_ONCE)
    ]
    found = pd.concat(parts).loc[rows["index"]]
    said = [name for name in found if name in rows]
    for name in said:
        bad = rows[~np.isclose(found[name], rows[name], rtol=_SAME, atol=1e-9)]
        if len(bad):
            wrong += 1
            text = f"image {_first(bad)}: {name} is not that of the data's image."
            yield contradicted(file, "images", text)
    if said and not wrong:
        text = f"{' and '.join(said)} of {len(data)} images are those of the data."
        yield holds(file, "images", text)


def _first(bad: pd.DataFrame) -> str:
    """The first image of some rows, and how many there are."""
    images = bad["index"].unique()
    return f"{images[0]} and {len(images) - 1} more" if len(images) > 1 else str(images[0])
