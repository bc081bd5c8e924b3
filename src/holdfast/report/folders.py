"""One finished run, as a report sees it.

Runs may be a stranger's, so what they say is shown but never followed: nothing is read outside the
folders that the report was given.
"""

import math
import os.path
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from holdfast import metrics
from holdfast.errors import InputError
from holdfast.results import CLEAN, read_about, read_rows
from holdfast.results.schema import OF_OWN_VOTES, PROVEN, Limits, limits_of

#: Commands that make a network, and the one that looks into one.
TRAINING, DIAGNOSIS = ("train", "tune"), "diagnose"

#: Attack, norm and size, which is infinite for no limit.
Key = tuple[str, str, float]


@dataclass(frozen=True)
class RunFolder:
    """One finished run.

    Attributes:
        path: its folder.
        about: its run.json.
        rows: its rows; none for a training run.
        names: its attacks that go by another name here, so that each name is one thing; the rows
            have the new ones.
    """

    path: Path
    about: dict[str, Any]
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as typed."""
        settings: dict[str, Any] = self.about["settings"]
        return settings

    @property
    def version(self) -> str | None:
        """Of the Holdfast that made it; None if it does not say."""
        version: str | None = self.about.get("versions", {}).get("holdfast")
        return version

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Its cells, each attack by its name here."""
        return [
            {**cell, "attack": self.names.get(cell["attack"], cell["attack"])}
            for cell in self.about["cells"]
        ]

    @property
    def warnings(self) -> list[str]:
        """What an evaluation or certification warned of, each attack by its name here."""
        titles = {
            metrics.title(attack, norm, eps): metrics.title(self.names[attack], norm, eps)
            for attack, norm, eps in map(key_of, self.about["cells"] if self.names else ())
            if attack in self.names
        }
        return [_retitled(note, titles) for note in self.about.get("warnings", ())]

    @property
    def attacked(self) -> pd.DataFrame:
        """Rows of all attacks of an evaluation."""
        return self.rows[self.rows["attack"] != CLEAN]

    @property
    def broken_by(self) -> dict[Key, dict[str, int]]:
        """What each part of each cascade broke, of what the parts before it had left."""
        parts = {key_of(cell): list(cell.get("broken_by", ())) for cell in self.cells}
        return {
            key: metrics.broken_by(rows, parts[key])
            for key, rows in self.attacked.groupby(metrics.CELL, sort=False)
            if parts[key]
        }

    @property
    def noise(self) -> tuple[str, float] | None:
        """Family and deviation of the noise in front of the network; None without noise."""
        sigma = self.settings["sigma"]
        return None if sigma is None else (self.settings.get("noise", "gaussian"), sigma)


@dataclass(frozen=True)
class CertifiedRun(RunFolder):
    """The certificates of one bound with one interval, out of a finished run.

    Attributes:
        bound: its name.
        interval: its name.
        limits: what its limits are good for.
        apart: in what it differs from others that rest on as much; "" if there are none.
    """

    bound: str = ""
    interval: str = ""
    limits: Limits = PROVEN
    apart: str = ""

    @property
    def norm(self) -> str:
        """In which the radii are: "l2" or "l1"."""
        return str(self.settings.get("norm", "l2"))

    @property
    def guaranteed(self) -> bool:
        """Whether its limits hold with the stated confidence."""
        return self.limits.guaranteed

    @property
    def of_votes(self) -> bool:
        """Whether they are about the majority vote, which evaluations attack, not mean scores."""
        return self.limits.of_votes

    @property
    def top(self) -> int:
        """Among how many classes the label is certified to be; 1 for the first alone."""
        return int(self.settings.get("top") or 1)

    @property
    def among(self) -> str:
        """That in words, before what it rests on; "" for the first alone."""
        return f"among the first {self.top} classes, " if self.top > 1 else ""

    @property
    def own_votes(self) -> bool:
        """Whether each image has a number of votes of its own."""
        return self.interval in OF_OWN_VOTES

    @property
    def title(self) -> str:
        """What the certificates rest on."""
        votes = f"{self.settings['votes']} votes"
        how = f"{self.bound}, {self.interval}" + ("" if self.of_votes else " (mean scores)")
        how = f"{self.among}{how}"
        if self.own_votes:
            votes = f"{self.rows['draws'].mean():.0f} votes on average"
        elif not self.guaranteed:
            how += " (does not hold)"
        return (
            f"{how}, {votes}, {100 * self.settings['confidence']:g} %, "
            f"{self.settings['images']} images" + (f", {self.apart}" if self.apart else "")
        )


def _retitled(note: str, titles: Mapping[str, str]) -> str:
    """A note about a cell, under the cell's new title; any other as it is."""
    for before, now in titles.items():
        if note.startswith(f"{before}: "):
            return now + note.removeprefix(before)
    return note


def key_of(cell: Mapping[str, Any]) -> Key:
    """Which attack a cell of run.json is about; JSON has no infinity."""
    return cell["attack"], cell["norm"], math.inf if cell["eps"] is None else float(cell["eps"])


def read_folder(path: Path) -> RunFolder:
    """Read a finished run, and check that a report can be made of it.

    Raises:
        MissingFileError: if the folder holds no run.
        DamagedFileError: if the run is not what Holdfast writes.
        InputError: if it is not finished, leads out of its folder, or is no run that reports show.
    """
    about = _finished(path)
    if about["kind"] not in ("evaluate", "certify", *TRAINING):
        raise InputError(
            f"{path} is a run of holdfast {about['kind']}; a report shows evaluations, "
            "certifications and diagnoses, and how their networks were trained."
        )
    if about["kind"] in TRAINING:
        return RunFolder(path, about)
    return RunFolder(path, about, read_rows(path))


def read_diagnosis(path: Path) -> RunFolder:
    """Read a finished diagnosis; its rows and arrays stay where they are.

    Raises:
        DamagedFileError: if the run is not what Holdfast writes.
        InputError: if it is not finished, or leads out of its folder.
    """
    return RunFolder(path, _finished(path))


def _finished(path: Path) -> dict[str, Any]:
    _check_inside(path)
    about = read_about(path)
    if not about["complete"]:
        raise InputError(
            f"{path} is not finished; run its holdfast {about['kind']} command again to finish it."
        )
    return about


def _check_inside(path: Path) -> None:
    for entry in path.rglob("*"):
        # realpath, unlike resolve, also ends where links lead round in a circle.
        leads_to = Path(os.path.realpath(entry))
        if entry.is_symlink() and not leads_to.is_relative_to(os.path.realpath(path)):
            raise InputError(
                f"{entry} is a link that leads out of the run's folder, where a report reads "
                "nothing; put a copy of what it leads to in its place."
            )


def certificates(run: RunFolder) -> list[CertifiedRun]:
    """The certificates of a run, apart by bound and interval."""
    return [
        CertifiedRun(
            run.path,
            run.about,
            rows.reset_index(drop=True),
            bound=str(bound),
            interval=str(interval),
            limits=limits_of(run.about, str(bound), str(interval)) or PROVEN,
        )
        for (bound, interval), rows in run.rows.groupby(["bound", "interval"], sort=False)
    ]
