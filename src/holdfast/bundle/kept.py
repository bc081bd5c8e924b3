"""The images that an evaluation kept, held against their rows: box, ball and distances anew."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast import metrics
from holdfast.bundle.finding import Finding, contradicted, holds, unchecked
from holdfast.errors import DamagedFileError, HoldfastError
from holdfast.evaluation.rounding import to_8_bit
from holdfast.evaluation.rows import lengths
from holdfast.results import CLEAN, IMAGES, ROWS, read_images
from holdfast.tensors import distances
from holdfast.threat import BALLS
from holdfast.types import Threat

#: Up to which a distance in float64 is the one that was measured.
_SAME = 1e-6

#: What a file of images holds.
_HELD = ("index", "label", "x", "x_adv", "x_adv_8bit", "prediction_8bit")


class Kept(NamedTuple):
    """The images that were kept of one attack at one size, with their rows.

    Attributes:
        name: of the attack.
        threat: its ball.
        rows: of the images, in their order.
        images: what a run keeps, by name.
    """

    name: str
    threat: Threat
    rows: pd.DataFrame
    images: Mapping[str, Tensor]

    def __str__(self) -> str:
        return metrics.title(self.name, self.threat.name, self.threat.eps)


def kept_in(run: Path, about: Mapping[str, Any], rows: pd.DataFrame) -> Iterator[Kept]:
    """The kept images of each cell that has some.

    Raises:
        DamagedFileError: if a file is not what a run keeps.
    """
    attacked = rows[rows["attack"] != CLEAN]
    cells = attacked.groupby(metrics.CELL, sort=False)
    for number, ((name, norm, eps), mine) in enumerate(cells, start=1):
        images = read_images(run, number)
        if images:
            own = mine.set_index("index", drop=False)
            _check(f"{IMAGES}/{number:04d}", about, own, images)
            yield Kept(name, BALLS[norm](float(eps)), own.loc[images["index"].tolist()], images)


def of_images(
    run: Path, about: Mapping[str, Any], rows: pd.DataFrame, where: str
) -> Iterator[Finding]:
    """Budgets and boxes of the kept images, and whether the rows are about them."""
    clean: dict[int, Tensor] = {}
    file, seen, wrong, total = f"{where}/{IMAGES}", 0, 0, 0
    try:
        for kept in kept_in(run, about, rows):
            seen += 1
            total += len(kept.rows)
            for found in _of_one(kept, clean, file):
                wrong += 1
                yield found
    except HoldfastError as error:
        yield contradicted(file, "images", str(error))
        return
    if seen and not wrong:
        said = f"{total} adversarial images lie in their boxes and balls, as far as their rows say."
        yield holds(file, "images", said)
    left = int((rows["attack"] != CLEAN).sum()) - total
    if left:
        said = (
            f"{left} of {left + total} rows under attack have no image kept, so that nothing can "
            "show whether it fooled the model: --keep-images of holdfast evaluate keeps more."
        )
        yield unchecked(f"{where}/{ROWS}", "images", said)


def _check(
    file: str, about: Mapping[str, Any], rows: pd.DataFrame, images: Mapping[str, Tensor]
) -> None:
    shape, index = tuple(about["settings"]["shape"]), images.get("index")
    held = [images.get(name) for name in _HELD]
    if (
        index is None
        or any(one is None or one.dim() < 1 or len(one) != len(index) for one in held)
        or index.dim() != 1
        or index.is_floating_point()
        or any(tuple(images[name].shape[1:]) != shape for name in _HELD[2:5])
        or any(not images[name].is_floating_point() for name in _HELD[2:5])
        or len(set(index.tolist())) < len(index)
        or not set(index.tolist()) <= set(rows["index"])
    ):
        raise DamagedFileError(f"{file} holds other images than the run is about.")


def _of_one(kept: Kept, clean: dict[int, Tensor], file: str) -> Iterator[Finding]:
    images, rows = kept.images, kept.rows
    index, x, x_adv = images["index"], images["x"], images["x_adv"]
    for number, image in zip(index.tolist(), x, strict=True):
        clean.setdefault(number, image)

    def wrong(bad: NDArray[np.bool_], said: str) -> Iterator[Finding]:
        if bad.any():
            first, more = index[int(bad.argmax())], int(bad.sum()) - 1
            also = f" and {more} more" if more else ""
            yield contradicted(file, "images", f"{kept}, image {first}{also}: {said}.")

    def outside(what: Tensor) -> NDArray[np.bool_]:
        return (~((what >= 0) & (what <= 1))).flatten(1).any(dim=1).numpy()

    yield from wrong(outside(x), "the clean image leaves [0, 1]")
    yield from wrong(outside(x_adv), "the adversarial image leaves [0, 1]")
    changed = [not torch.equal(clean[n], image) for n, image in zip(index.tolist(), x, strict=True)]
    yield from wrong(np.array(changed), "another attack was kept with another clean image")
    other = images["label"].numpy() != rows["label"].to_numpy()
    yield from wrong(other, "its label is not that of the row")
    found = distances(x_adv, x)
    limit = kept.threat.eps * (1 + _SAME)
    beyond = found[kept.threat.name].numpy() > limit
    yield from wrong(beyond, "the adversarial image is outside its ball")
    for norm, measured in found.items():
        if norm in rows:
            apart = ~np.isclose(measured.numpy(), rows[norm], rtol=_SAME, atol=1e-9)
            yield from wrong(apart, f"its {norm} distance is not that of the row")
    for name, measured in lengths(x).items():
        if name in rows:
            apart = ~np.isclose(measured.numpy(), rows[name], rtol=_SAME, atol=1e-9)
            yield from wrong(apart, f"its {name} is not that of the clean image")
    rounded, possible = to_8_bit(x_adv, x, kept.threat)
    same = (rounded == images["x_adv_8bit"]).flatten(1).all(dim=1)
    yield from wrong((~same).numpy(), "its 8-bit version is not the image on 256 levels")
    said = images["prediction_8bit"] != -1
    yield from wrong(
        (said != possible).numpy(), "whether its 8-bit version is in the ball is not as it says"
    )
