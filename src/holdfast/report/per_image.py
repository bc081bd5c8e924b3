"""Every image's own row, packed so that a page can hold those of a whole study.

What an attack made of an image is one number: 0 if the image stayed right, the predicted class
plus 1 if not, and the largest number of its kind if the image was never attacked so. The numbers
of a classifier and a norm are one block of bytes, compressed, which the page unpacks when it is
looked at.
"""

import base64
import zlib
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from holdfast import metrics
from holdfast.report.classifier import Classifier

Numbers = NDArray[np.generic]


class Packed(NamedTuple):
    """The rows of all images under all attacks of one norm.

    Attributes:
        images: how many.
        columns: of each, its name, the attack and size that it is about, and the kind of number:
            "u1", "u2" or "f4", little-endian.
        block: the columns one after the other, deflated, in base64.
    """

    images: int
    columns: list[dict[str, object]]
    block: str


def packed(classifier: Classifier, norm: str) -> Packed:
    """Pack what is known of each image of a classifier in a norm.

    Args:
        classifier: under attack, certified, or both.
        norm: "linf", "l2", "l1" or "l0".
    """
    attacked, run = classifier.attacked_in(norm), classifier.proof
    proven = run.rows if run is not None and run.norm == norm else attacked[:0]
    both = pd.concat([attacked, proven])
    first = both.drop_duplicates("index").set_index("index").sort_index()
    images = first.index.to_numpy()
    largest = int(max(both["label"].max(), both["prediction"].max())) + 1
    kind = np.dtype("u1" if largest < 255 else "<u2")
    parts: list[tuple[dict[str, object], Numbers]] = [
        ({"name": "index"}, images.astype("<u4")),
        ({"name": "label"}, first["label"].to_numpy().astype(kind)),
    ]
    if len(attacked):
        clean = attacked.drop_duplicates("index").set_index("index")["clean_prediction"]
        parts.append(({"name": "clean"}, _codes(clean, images, kind)))
        size = metrics.first_broken(attacked).reindex(images).fillna(-1.0)
        parts.append(({"name": "first"}, size.to_numpy().astype("<f4")))
    for (attack, eps), part in attacked.groupby(["attack", "eps"], sort=False):
        mine, about = part.set_index("index"), {"attack": attack, "eps": float(eps)}
        after = (mine["prediction"] + 1).where(mine["fooled"], 0)
        parts.append(({"name": "after", **about}, _codes(after, images, kind)))
        if "votes" in mine and (mine["votes"] > 1).any():
            votes = _codes(mine["votes_for_label"], images, np.dtype("<u2"))
            parts.append(({"name": "votes", "of": int(mine["votes"].max()), **about}, votes))
    if len(proven):
        mine = proven.set_index("index")
        radius = mine["radius"].where(mine["prediction"] == mine["label"], -1.0)
        parts.append(({"name": "radius"}, radius.reindex(images).to_numpy().astype("<f4")))
    columns = [{**about, "kind": values.dtype.str.lstrip("<|")} for about, values in parts]
    block = b"".join(values.tobytes() for _, values in parts)
    return Packed(len(images), columns, base64.b64encode(zlib.compress(block, 6)).decode())


def _codes(
    values: "pd.Series[int]", images: NDArray[np.int64], kind: np.dtype[np.generic]
) -> Numbers:
    """Values at the images, the largest number of the kind where there is none."""
    most = int(np.iinfo(kind).max)  # type: ignore[type-var]
    return values.reindex(images).fillna(most).clip(upper=most).to_numpy().astype(kind)
