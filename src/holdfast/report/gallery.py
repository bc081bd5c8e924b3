"""Examples for the gallery: clean image, adversarial image, and their difference magnified."""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from holdfast import metrics
from holdfast.batch_size import in_a_chunk
from holdfast.errors import DamagedFileError, InputError, MissingFileError
from holdfast.files import read_tensors
from holdfast.report.classifier import Classifier
from holdfast.report.folders import RunFolder
from holdfast.results import IMAGES, read_about, read_rows

_AT_MOST = 8
_NAMED = 4  # of files that are missing, or cannot be read

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Example:
    """One image before and after an attack, each (H, W) or (H, W, 3) in [0, 1].

    Attributes:
        clean: the test image.
        adversarial: what the attack made of it.
        difference: adversarial - clean, magnified; middle grey is no change.
        label: name of the true class.
        prediction: name of the class that the model sees afterwards.
        distance: of the two images, in the attack's norm.
        factor: how much the difference is magnified.
        index: of the test image.
    """

    clean: Pixels
    adversarial: Pixels
    difference: Pixels
    label: str
    prediction: str
    distance: float
    factor: float
    index: int = 0


@dataclass(frozen=True)
class Gallery:
    """Examples of one attack at one size.

    Attributes:
        attack: its name.
        norm: "linf", "l2", "l1" or "l0".
        eps: size of the ball; infinite for no limit.
        examples: images that it fooled.
    """

    attack: str
    norm: str
    eps: float
    examples: list[Example]

    @property
    def limited(self) -> bool:
        """Whether the attacker had a ball to stay in."""
        return math.isfinite(self.eps)


def galleries(classifier: Classifier) -> list[list[Gallery]]:
    """For each run and norm, images that each attack fooled at a size where about half fell.

    Files of images that are missing or cannot be read are passed over; `lost` names them.

    Returns:
        For each run and norm the galleries of its attacks, the strongest first.
    """
    found = []
    for run in classifier.evaluations:
        for _, cells in _numbered(run).groupby("norm", sort=False):
            half = (cells["robust_accuracy"] - cells["clean_accuracy"] / 2).abs()
            eps = cells.loc[half.idxmin(), "eps"]
            mine = cells[cells["eps"] == eps].sort_values("robust_accuracy", kind="stable")
            shown = [
                Gallery(cell["attack"], cell["norm"], float(eps), _examples(run, cell))
                for _, cell in mine.iterrows()
            ]
            found.append([gallery for gallery in shown if gallery.examples])
    return [shown for shown in found if shown]


def lost(run: RunFolder) -> list[str]:
    """Which files of images that an evaluation kept are missing or cannot be read, in sentences."""
    folder = run.path / IMAGES
    there = sorted(folder.glob("*.safetensors"))
    expected = _expected(run)
    gone = [name for name in expected if not (folder / name).exists()]
    told = []
    if gone and len(gone) == len(expected):
        told.append(f"{folder} is missing, so that none of its images is shown.")
    elif gone:
        told.append(f"of {folder} are missing {_few(gone)}: the images in them are not shown.")
    if broken := [file.name for file in there if not _is_readable(run, file)]:
        told.append(
            f"of {folder} cannot be read {_few(broken)}, which are damaged or hold other images "
            "than the run is about: the images in them are not shown."
        )
    elif missing := _missing(run):
        told.append(f"of {folder} are missing {missing} of the images that were kept.")
    return told


def _expected(run: RunFolder) -> list[str]:
    """The names of the files of images that an evaluation kept, where its settings tell."""
    kept, at_once = (run.settings.get(name) for name in ("keep_images", "batch_size"))
    if kept is None or at_once is None or _has_pilot(run):
        return []  # of a version that did not say, or where what was drawn says in which they are
    chunks = -(-min(kept, run.rows["index"].nunique()) // in_a_chunk(at_once))
    return [
        f"{cell:04d}.{chunk:05d}.safetensors"
        for cell in range(1, len(run.cells) + 1)
        for chunk in range(chunks)
    ]


def _missing(run: RunFolder) -> int:
    """How many images are in none of the files, where these cannot be told by their names."""
    if not _has_pilot(run):
        return 0
    kept = {index for index in run.rows["index"].unique() if index < run.settings["keep_images"]}
    cells = range(1, len(run.cells) + 1)
    return sum(len(kept - {index for index, _, _ in _kept(run, cell)}) for cell in cells)


def _has_pilot(run: RunFolder) -> bool:
    """Whether images were drawn that met the attacks first, so that chunks are in no order."""
    return any("pilot" in attack for attack in run.settings["attacks"])


def _few(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return f"{', '.join(names[:_NAMED])}{f' and {more} more' if more > 0 else ''}"


def gallery_of(folder: Path, attack: str, eps: float) -> Gallery:
    """Images that one attack of an evaluation fooled, of those that the run kept.

    Raises:
        InputError: if the run has no such attack.
        DamagedFileError: if a file of its images cannot be read, or holds others.

    Example:
        >>> from pathlib import Path
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.report.gallery import gallery_of
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> shown = gallery_of(Path("run"), "fgsm", 0.3)
        >>> shown.norm, len(shown.examples) <= len(x)
        ('linf', True)
    """
    run = RunFolder(folder, read_about(folder), read_rows(folder))
    cells = _numbered(run)
    found = cells[(cells["attack"] == attack) & np.isclose(cells["eps"], eps)]
    if len(found) != 1:
        known = cells[["attack", "eps"]].to_dict(orient="records")
        raise InputError(f"{folder} has no one attack {attack} at eps {eps:g}, but {known}.")
    cell = found.iloc[0]
    for file in _files(run, int(cell["number"])):
        _read(run, file)
    return Gallery(cell["attack"], cell["norm"], float(cell["eps"]), _examples(run, cell))


def to_png(image: Pixels) -> bytes:
    """A file of its own, or for a page that needs no other; each value to the nearest of 256."""
    buffer = io.BytesIO()
    Image.fromarray((image * 255).round().astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def _numbered(run: RunFolder) -> pd.DataFrame:
    """The cells of a run's attacks, with the numbers by which their images are kept."""
    cells = metrics.cells(run.attacked)
    cells["number"] = range(1, len(cells) + 1)
    return cells


def _examples(run: RunFolder, cell: "pd.Series[object]") -> list[Example]:
    shape = run.settings["shape"]
    if len(shape) != 3 or shape[0] not in (1, 3):
        return []  # nothing that can be shown as a picture
    rows = run.rows
    mine = (
        (rows["attack"] == cell["attack"])
        & (rows["norm"] == cell["norm"])
        & (rows["eps"] == cell["eps"])
    )
    rows = rows[mine].set_index("index")
    names: Sequence[str] = run.about["classes"]
    found: list[Example] = []
    for index, x, x_adv in _kept(run, int(str(cell["number"]))):
        row = rows.loc[index]
        if row["fooled"] and row["clean_prediction"] == row["label"] and len(found) < _AT_MOST:
            clean, adversarial = to_pixels(x), to_pixels(x_adv)
            difference = adversarial - clean
            factor = 0.5 / max(float(np.abs(difference).max()), 1e-9)
            found.append(
                Example(
                    clean,
                    adversarial,
                    0.5 + factor * difference,
                    _name(names, int(row["label"])),
                    _name(names, int(row["prediction"])),
                    float(row[str(cell["norm"])]),
                    factor,
                    int(index),
                )
            )
    return found


def _kept(run: RunFolder, number: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Index, image and adversarial image of what can be read of a cell's images."""
    for file in _files(run, number):
        if _is_readable(run, file):
            index, x, x_adv = _read(run, file)
            yield from zip(index.tolist(), x, x_adv, strict=True)


def _files(run: RunFolder, number: int) -> list[Path]:
    return sorted((run.path / IMAGES).glob(f"{number:04d}.*"))


def _is_readable(run: RunFolder, file: Path) -> bool:
    try:
        _read(run, file)
    except (DamagedFileError, MissingFileError):
        return False
    return True


def _read(run: RunFolder, file: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Index, images and adversarial images of one file.

    Raises:
        DamagedFileError: if it cannot be read, or holds other images than the run is about.
        MissingFileError: if it is no file.
    """
    held = read_tensors(file)[0]
    shape, known = tuple(run.settings["shape"]), set(run.rows["index"].unique())
    index, x, x_adv = (held.get(name) for name in ("index", "x", "x_adv"))
    if (
        index is None
        or x is None
        or x_adv is None
        or index.dim() != 1
        or not set(index.tolist()) <= known
        or not x.shape == x_adv.shape == (len(index), *shape)
        or not all(((part >= 0) & (part <= 1)).all() for part in (x, x_adv))
    ):
        raise DamagedFileError(
            f"{file} holds other images than the run is about; put its copy back, or take it away."
        )
    return index, x, x_adv


def to_pixels(image: Tensor) -> Pixels:
    """(C, H, W) as a figure takes it: (H, W) if it is grey, else (H, W, C)."""
    array: Pixels = image.float().cpu().permute(1, 2, 0).numpy()
    return array[:, :, 0] if array.shape[2] == 1 else array


def _name(names: Sequence[str], k: int) -> str:
    return names[k] if k < len(names) else str(k)
