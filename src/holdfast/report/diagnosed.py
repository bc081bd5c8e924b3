"""Runs of ``holdfast diagnose`` in a report: their figures as they were drawn, their numbers."""

import base64
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.errors import InputError
from holdfast.files import check_file, replace_file
from holdfast.report.folders import DIAGNOSIS, RunFolder, read_diagnosis
from holdfast.report.subjects import Subject
from holdfast.results import read_about, runs_in

#: What the figures of a page may weigh; heavier ones are beside it as files.
AT_MOST = 2_000_000


class Kind(NamedTuple):
    """How a diagnosis is read: its title, and what its figures show."""

    title: str
    says: str


#: By the name under which runs record it; the traces of a chain record none.
KINDS = {
    "loss surface": Kind(
        "Loss surface",
        "The loss at x + ε₁ g + ε₂ g⊥: g is the sign of the model's gradient, g⊥ the vector of "
        "signs orthogonal to it that follows the gradient of another model best. The point is the "
        "image itself; beyond the line the model is fooled. A surface that is flat or jagged at "
        "the point and steep beyond it hides its gradients from attacks of small steps.",
    ),
    "linearity": Kind(
        "One step against many",
        "How much of the loss of many steps one step finds, and the cosine of the two "
        "perturbations, over the images.",
    ),
    "orthogonal directions": Kind(
        "Orthogonal adversarial directions",
        "The fraction of images with at least k orthogonal directions that fool the model.",
    ),
    "discrepancy": Kind(
        "Discrepancy of adversaries",
        "For each adversary of training, the largest difference over pairs of networks between how "
        "often they agree on its images and on another adversary's. Over these networks alone: a "
        "lower bound, of which a small value tells nothing.",
    ),
    "curvature": Kind(
        "Curvature",
        "|cos| of gradients to the leading eigenvector of the Hessian, beside that of a random "
        "direction.",
    ),
    "gradient norm": Kind(
        "Gradient norm", "The mean norm of the exact gradient over an attack's iterations."
    ),
    "perceptual similarity": Kind(
        "Perceptual similarity", "PASS of the adversarial images that fool, over the images."
    ),
    "margin": Kind(
        "Margin", "The distance to the decision boundary relative to the image, over the images."
    ),
    "convergence": Kind("Convergence", "Accuracy and ρ₂ over the epochs of training."),
    "live filters": Kind("Live filters", "The share of filters that fire on some image."),
    "ibp": Kind("Interval bounds", "Certified accuracy by interval bound propagation, by size."),
    "": Kind("Purification, step by step", "What a chain makes of an attacked image on its way."),
}


class Drawn(NamedTuple):
    """A figure of a diagnosis: what it shows, and itself as base64."""

    caption: str
    svg: str


class Diagnosed(NamedTuple):
    """A diagnosis as the page shows it.

    Attributes:
        kind: how it is read.
        path: of its run.
        told: its settings, in readable form.
        columns: of its numbers, the model first.
        lines: its numbers, one line for each model; None where nothing can be said.
        figures: those that the page has room for.
        beside: how many more are only files beside the page.
    """

    kind: Kind
    path: str
    told: str
    columns: list[str]
    lines: list[list[Any]]
    figures: list[Drawn]
    beside: int


def apart(paths: Sequence[Path]) -> tuple[list[Path], list[RunFolder]]:
    """Runs that a report is about, and the diagnoses among those given, which it shows beside.

    Raises:
        InputError: if there are only diagnoses.
    """
    every = list({run.resolve(): run for path in paths for run in runs_in(path)}.values())
    looked = {run for run in every if read_about(run)["kind"] == DIAGNOSIS}
    others = [run for run in every if run not in looked]
    diagnoses = [read_diagnosis(run) for run in every if run in looked]
    if diagnoses and not others:
        raise InputError(
            f"{diagnoses[0].path} is a run of holdfast diagnose, and there is no evaluation or "
            "certification; a report shows diagnoses beside those, so give them too."
        )
    return others, diagnoses


def check_data(diagnoses: Sequence[RunFolder], subjects: Sequence[Subject]) -> None:
    """Check that diagnoses looked at images of the data set that all else is about.

    Raises:
        InputError: if one did not.
    """
    data = subjects[0].runs[-1].settings["data"]
    for run in diagnoses:
        if run.settings["data"] != data:
            raise InputError(
                f"{run.path} looked at images of {run.settings['data']}, and the other runs at "
                f"those of {data}; make a report of each."
            )


def diagnosed(diagnoses: Sequence[RunFolder], folder: Path) -> list[Diagnosed]:
    """Copy the figures of diagnoses beside the page, and choose those that it shows.

    Args:
        diagnoses: their runs.
        folder: for the files, each figure as PDF and SVG.
    """
    room, found = AT_MOST, []
    for number, run in enumerate(diagnoses, start=1):
        figures = sorted(run.path.glob("*.svg"), key=lambda path: _natural(path.stem))
        for path in figures:
            for file in (path, path.with_suffix(".pdf")):
                if file.exists():
                    check_file(file)
                    copy = partial(Path.write_bytes, data=file.read_bytes())
                    replace_file(folder / f"diagnosis-{number}-{file.name}", copy)
        shown = set()
        for path in sorted(figures, key=lambda path: path.stat().st_size):  # the most that fit
            room -= (weight := path.stat().st_size * 4 // 3)
            if room < 0:
                room += weight
                break
            shown.add(path)
        drawn = [
            Drawn(_caption(path.stem), base64.b64encode(path.read_bytes()).decode())
            for path in figures
            if path in shown
        ]
        name = str(run.settings.get("diagnosis", ""))
        kind = KINDS.get(name, Kind(name[:1].upper() + name[1:], ""))
        cells = run.about.get("cells", [])
        columns = list(dict.fromkeys(key for cell in cells for key in cell))
        found.append(
            Diagnosed(
                kind,
                str(run.path),
                _told(run),
                [column.replace("_", " ") for column in columns],
                [[cell.get(column) for column in columns] for cell in cells],
                drawn,
                len(figures) - len(drawn),
            )
        )
    return found


def _told(run: RunFolder) -> str:
    """Its settings as a sentence has them: not the models, which have lines of their own."""
    said = [f"{run.settings['images']:,} images of {run.settings['data']}"]
    for name, value in run.settings.items():
        plain = isinstance(value, str | int | float) and not isinstance(value, bool)
        if plain and name not in {"diagnosis", "data", "images", "batch_size"}:
            said += [] if "fingerprint" in name else [f"{name.replace('_', ' ')} {value}"]
    return "; ".join(said)


def _caption(stem: str) -> str:
    """What the name of a figure's file says: its kind, and which image and model it is of."""
    kind, _, numbers = stem.partition("-")
    image, _, model = numbers.partition("-")
    if not image.isdigit():
        return stem.replace("-", " ")
    return f"{kind}, image {image}" + (f", model {int(model) + 1}" if model.isdigit() else "")


def _natural(name: str) -> list[tuple[int, str]]:
    """So that 10 comes after 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
