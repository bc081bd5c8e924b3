"""RobustBench's leaderboard: what it says of a model, and adversarial images as it asks for them.

Its models have names here, ``robustbench/Carmon2019Unlabeled?threat=Linf``
(`holdfast.models.external.robustbench`).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from holdfast.errors import DamagedFileError, InputError, MissingFileError, OutputError
from holdfast.files import StrPath, replace_file
from holdfast.results import CLEAN, read_about, read_images, read_rows
from holdfast.specs import number

__all__ = ["export", "known"]

#: The leaderboards, by the norm of their ball.
_BOARDS = {"linf": "Linf", "l2": "L2"}


@dataclass(frozen=True)
class Known:
    """What RobustBench's ``model_info`` says of a model, accuracies as fractions.

    Attributes:
        name: as on the leaderboard.
        eps: size of the ball.
        clean: accuracy.
        autoattack: robust accuracy by AutoAttack.
        best_known: the least robust accuracy that anyone's images have shown; AutoAttack's if
            nobody's were better.
        reported: what the authors said, as they wrote it.
        architecture: of the network.
    """

    name: str
    eps: float
    clean: float
    autoattack: float
    best_known: float
    reported: str = ""
    architecture: str = ""


def known(name: str, model_info: StrPath, threat: str = "Linf", dataset: str = "cifar10") -> Known:
    """What the leaderboard says of a model.

    Args:
        name: as on the leaderboard.
        model_info: the folder of that name of a clone of RobustBench's repository; the package on
            the index has none.
        threat: of the leaderboard.
        dataset: of the leaderboard.

    Raises:
        MissingFileError: if the folder says nothing of the model.
        DamagedFileError: if what it says cannot be read.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> from holdfast.bridges.robustbench import known
        >>> Path("cifar10/Linf").mkdir(parents=True)
        >>> said = {"eps": "8/255", "clean_acc": "90.0", "autoattack_acc": "60.1", "external": "59"}
        >>> _ = Path("cifar10/Linf/Net2020.json").write_text(json.dumps(said))
        >>> found = known("Net2020", ".")
        >>> found.autoattack, found.best_known
        (0.601, 0.59)
    """
    path = Path(model_info) / dataset / threat / f"{name}.json"
    if not path.is_file():
        raise MissingFileError(
            f"there is no {path}: give the folder model_info of a clone of RobustBench's "
            "repository, and a name of its leaderboard."
        )
    try:
        said = json.loads(path.read_text())
        autoattack = _fraction(said["autoattack_acc"])
        external = said.get("external")
        return Known(
            name=name,
            eps=number(str(said["eps"])),
            clean=_fraction(said["clean_acc"]),
            autoattack=autoattack,
            best_known=_fraction(external) if external not in (None, "") else autoattack,
            reported=str(said.get("reported", "")),
            architecture=str(said.get("architecture", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFileError(f"{path} does not describe a model: {error!r}.") from error


def export(run: StrPath, out: StrPath, *, model: str = "", info: StrPath = "") -> Tensor:
    """A finished evaluation's adversarial images as the leaderboard's form asks for them.

    That is a ``.pt`` tensor of the test set's size. Each image is one that fooled the model, of
    whichever of the run's attacks, or the image as it was; beside it, in OUT.md, are the answers
    to what the form of a new evaluation asks. The run has kept all of its images if it was made
    with ``--keep-images N`` for N images.

    Args:
        run: the folder of a run of ``holdfast evaluate`` within one ball.
        out: file to write, NAME.pt; neither it nor NAME.md may exist.
        model: the model's name on the leaderboard; the run's by default.
        info: RobustBench's folder ``model_info``, for the numbers to compare with.

    Returns:
        (N, C, H, W) images, float32.

    Raises:
        OutputError: if ``out`` or the form beside it exists.
        InputError: if the run has kept fewer images, or is of several sizes, or of a norm that has
            no leaderboard, or ``out`` is the name of a form.

    Example:
        >>> from holdfast import EvaluationConfig, Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.bridges.robustbench import export
        >>> _ = evaluate(
        ...     model, x, y, [FGSM(Linf(0.3))], out="run", config=EvaluationConfig(audit=0)
        ... )
        >>> export("run", "net.pt", model="Net2020").shape
        torch.Size([4, 1, 8, 8])
    """
    out = Path(out)
    form = out.with_suffix(".md")
    if form == out:
        raise InputError(f"{out} is the name of the form beside the images: give NAME.pt.")
    for path in (out, form):
        if path.exists():
            raise OutputError(f"{path} is there already; give another name, or remove it.")
    about, rows = read_about(Path(run)), read_rows(Path(run))
    attacked = rows[rows["attack"] != CLEAN]
    balls = attacked[["norm", "eps"]].drop_duplicates()
    if len(balls) != 1:
        raise InputError(
            f"{run} attacks within {len(balls)} balls, but a leaderboard is about one: evaluate "
            "with one --norm and one --eps."
        )
    ball = balls.iloc[0].to_dict()
    if ball["norm"] not in _BOARDS:
        raise InputError(
            f"{run} attacks in {ball['norm']}, but the leaderboards are of {' and '.join(_BOARDS)}:"
            " evaluate with one of these (--norm)."
        )
    count, found = rows["index"].nunique(), _kept(Path(run), attacked)
    if len(found) < count:
        raise InputError(
            f"{run} has kept {len(found)} of its {count} images: evaluate with --keep-images "
            f"{count}."
        )
    images = torch.stack([found[place] for place in sorted(found)]).float()
    robust = 1 - attacked.groupby("index")["fooled"].any().mean()
    text = _form(about, model, float(robust), ball, info)
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(form, lambda part: part.write_text(text))
    replace_file(out, lambda part: torch.save(images, part))
    return images


def _kept(run: Path, attacked: pd.DataFrame) -> dict[int, Tensor]:
    """By place: the image of the first attack that fooled, or the clean one."""
    found: dict[int, Tensor] = {}
    done: set[int] = set()
    for cell, name in enumerate(attacked["attack"].unique(), start=1):
        rows = attacked[attacked["attack"] == name]
        fooled = set(rows.loc[rows["fooled"], "index"])
        kept = read_images(run, cell)
        for row, place in enumerate(kept["index"].tolist() if kept else ()):
            if place not in done:
                found[place] = kept["x_adv" if place in fooled else "x"][row]
        done |= fooled
    return found


def _form(
    about: Mapping[str, Any],
    model: str,
    robust: float,
    ball: Mapping[str, Any],
    info: StrPath,
) -> str:
    """The answers to the form of a new evaluation."""
    settings = about["settings"]
    board = _BOARDS[ball["norm"]]
    version = about.get("versions", {}).get("holdfast", "")
    attacks = "; ".join(f"{one['name']} = {one['attack']}" for one in settings["attacks"])
    lines = [
        "## Target model",
        f"+ **Model identifier(s):** {model or settings.get('model', '')}",
        f"+ **Leaderboard(s):** {settings.get('data', '')}, {board}, eps={ball['eps']:g}",
        "",
        "## New evaluation",
        "+ **Link to adversarial images:**",
        f"+ **Robust accuracy:** {100 * robust:.2f}%",
        "+ **Author(s):**",
        "+ **Description of the method used:** "
        f"Holdfast {version}, seed {settings['seed']}: {attacks}",
    ]
    if info:
        said = known(model, info, board, settings.get("data", "cifar10"))
        lines += [
            "",
            f"AutoAttack leaves {100 * said.autoattack:.2f}%, the best known is "
            f"{100 * said.best_known:.2f}%.",
        ]
    return "\n".join(lines) + "\n"


def _fraction(percent: Any) -> float:
    value = float(percent)
    if not (math.isfinite(value) and 0 <= value <= 100):
        raise ValueError(f"{percent} is no percentage")
    return round(value / 100, 6)
