"""What a report is about: networks, the classifiers made of them, and their runs.

Runs may be a stranger's, so what they say is shown but never followed: nothing is read outside the
folders that the report was given.
"""

import os.path
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from holdfast import metrics
from holdfast.certify.procedure import INTERVALS
from holdfast.errors import InputError
from holdfast.judge import CLEAN
from holdfast.results import read_about, read_rows

#: Commands that make a network.
_TRAINING = ("train", "tune")

#: How tables name a classifier under noise of each family.
_TITLES = {
    "gaussian": "noise",
    "laplace": "laplace noise",
    "first-layer": "noise behind the first layer",
}


@dataclass(frozen=True)
class RunFolder:
    """One finished run.

    Attributes:
        path: its folder.
        about: its run.json.
        rows: its rows; none for a training run.
    """

    path: Path
    about: dict[str, Any]
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as typed."""
        settings: dict[str, Any] = self.about["settings"]
        return settings

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
    """

    bound: str = ""
    interval: str = ""

    @property
    def norm(self) -> str:
        """In which the radii are: "l2" or "l1"."""
        return str(self.settings.get("norm", "l2"))

    @property
    def guaranteed(self) -> bool:
        """Whether its limits hold with the stated confidence."""
        return INTERVALS[self.interval].guaranteed

    @property
    def of_votes(self) -> bool:
        """Whether they are about the majority vote, which is what evaluations attack."""
        return INTERVALS[self.interval].of_votes

    @property
    def title(self) -> str:
        """What the certificates rest on."""
        votes = f"{self.settings['n']} votes"
        how = f"{self.bound}, {self.interval}" + ("" if self.of_votes else " (mean scores)")
        if self.interval == "sequential":
            votes = f"{self.rows['draws'].mean():.0f} votes on average"
        elif not self.guaranteed:
            how += " (does not hold)"
        return (
            f"{how}, {votes}, {100 * self.settings['confidence']:g} %, "
            f"{self.settings['images']} images"
        )


@dataclass(frozen=True)
class Classifier:
    """A network itself, or its vote under noise, with all runs that met it.

    Attributes:
        network: the network's name.
        noise: family and deviation of the noise; None for the network itself.
        evaluations: attacks on it.
        certifications: its certificates: those that hold first, from the most votes.
    """

    network: str
    noise: tuple[str, float] | None
    evaluations: list[RunFolder] = field(default_factory=list)
    certifications: list[CertifiedRun] = field(default_factory=list)

    @property
    def sigma(self) -> float | None:
        """Of the noise."""
        return None if self.noise is None else self.noise[1]

    @property
    def title(self) -> str:
        """As tables name it."""
        if self.noise is None:
            return "network itself"
        family, sigma = self.noise
        return f"vote with {_TITLES[family]} σ = {sigma:g}"

    @property
    def tag(self) -> str:
        """As files name it."""
        if self.noise is None:
            return "network"
        family, sigma = self.noise
        return f"{'noise' if family == 'gaussian' else family}-{sigma:g}"

    @property
    def options(self) -> str:
        """What makes holdfast evaluate attack it."""
        if self.noise is None:
            return ""
        family, sigma = self.noise
        return f"--sigma {sigma:g}" + ("" if family == "gaussian" else f" --noise {family}")

    @property
    def proof(self) -> CertifiedRun | None:
        """The certificates that stand for the classifier: from the most votes, if they hold."""
        holding = [run for run in self.certifications if run.guaranteed]
        return next(iter([*self.proofs, *holding]), None)

    @property
    def proofs(self) -> list[CertifiedRun]:
        """All certificates of the vote that hold, so that no attack on it may contradict one."""
        return [run for run in self.certifications if run.guaranteed and run.of_votes]

    @property
    def attacked(self) -> pd.DataFrame:
        """Rows of all attacks."""
        return self._rows[self._rows["attack"] != CLEAN]

    @property
    def at_sizes(self) -> pd.DataFrame:
        """The same, attacks without a limit read at finite sizes."""
        return metrics.at_finite_sizes(self.attacked)

    @property
    def clean(self) -> pd.DataFrame:
        """Rows of the unattacked images."""
        clean = self._rows[self._rows["attack"] == CLEAN]
        return clean.drop_duplicates("index")

    @property
    def _rows(self) -> pd.DataFrame:
        return pd.concat([run.rows for run in self.evaluations], ignore_index=True)


@dataclass(frozen=True)
class Subject:
    """A network and the classifiers made of it, the network itself first.

    Attributes:
        name: what the report calls it.
        classifiers: the network itself and its votes under noise.
        training: how it was trained, if its folder is one of those given.
    """

    name: str
    classifiers: list[Classifier]
    training: RunFolder | None

    @property
    def runs(self) -> list[RunFolder]:
        """Everything that is known of it: training, evaluations, certifications."""
        found = [self.training] if self.training else []
        for classifier in self.classifiers:
            certified = {run.path: run for run in classifier.certifications}
            found += [*classifier.evaluations, *certified.values()]
        return found


def read_subjects(paths: Sequence[Path]) -> list[Subject]:
    """Group runs by the network that they met, known by its weights.

    Raises:
        MissingFileError: if a folder holds no run.
        InputError: if a run is not finished, leads out of its folder, or is neither an evaluation
            nor a certification nor the training of a network that one of these met, or if the runs
            are about different data sets.
    """
    given = [_read(path) for path in paths]
    trainings = [run for run in given if run.about["kind"] in _TRAINING]
    runs = [run for run in given if run.about["kind"] not in _TRAINING]
    _check_met(trainings, runs)
    names = {run.settings["data"] for run in runs}
    if len(names) > 1:
        raise InputError(
            f"the runs are about different data sets ({', '.join(sorted(names))}); make a report "
            "of each."
        )
    by_network: dict[str, list[RunFolder]] = {}
    for run in runs:
        by_network.setdefault(run.settings["model_fingerprint"], []).append(run)
    subjects: list[Subject] = []
    for fingerprint, group in by_network.items():
        name = _short(group[0].settings["model"])
        if any(subject.name == name for subject in subjects):
            name = f"{name} ({fingerprint[:6]})"
        made = (training for training in trainings if _met(training, group))
        subjects.append(Subject(name, _classifiers(name, group), next(made, None)))
    return subjects


def _check_met(trainings: Sequence[RunFolder], runs: Sequence[RunFolder]) -> None:
    for training in trainings:
        if not _met(training, runs):
            raise InputError(
                f"{training.path} is a run of holdfast {training.about['kind']}, and none of the "
                "other runs met its network; a report shows evaluations and certifications, so "
                "give those of this network beside it."
            )


def _met(training: RunFolder, runs: Sequence[RunFolder]) -> bool:
    """Whether a run names the network that a training run made: by its folder, or a file in it."""
    folder = os.path.abspath(training.path)
    named = (os.path.abspath(str(run.settings["model"])) for run in runs)
    return any(folder in (model, os.path.dirname(model)) for model in named)


def _classifiers(name: str, runs: list[RunFolder]) -> list[Classifier]:
    noises = sorted({run.noise for run in runs}, key=lambda noise: noise or ("", 0.0))
    found = []
    for noise in noises:
        mine = [run for run in runs if run.noise == noise]
        found.append(
            Classifier(
                name,
                noise,
                [run for run in mine if run.about["kind"] == "evaluate"],
                sorted(
                    [
                        part
                        for run in mine
                        if run.about["kind"] == "certify"
                        for part in _parts(run)
                    ],
                    key=lambda part: (not part.guaranteed, -int(part.settings["n"])),
                ),
            )
        )
    return found


def _parts(run: RunFolder) -> list[CertifiedRun]:
    """The certificates of a run, apart by bound and interval."""
    return [
        CertifiedRun(run.path, run.about, rows.reset_index(drop=True), str(bound), str(interval))
        for (bound, interval), rows in run.rows.groupby(["bound", "interval"], sort=False)
    ]


def _read(path: Path) -> RunFolder:
    _check_inside(path)
    about = read_about(path)
    if about["kind"] not in ("evaluate", "certify", *_TRAINING):
        raise InputError(
            f"{path} is a run of holdfast {about['kind']}; a report shows evaluations and "
            "certifications, and how their networks were trained."
        )
    if not about["complete"]:
        raise InputError(
            f"{path} is not finished; run its holdfast {about['kind']} command again to finish it."
        )
    if about["kind"] in _TRAINING:
        return RunFolder(path, about)
    rows = read_rows(path)
    if about["kind"] == "certify" and "bound" not in rows:  # of revisions that knew one of each
        settings = about["settings"]
        rows = rows.assign(bound=settings["bound"], interval=settings["interval"])
    return RunFolder(path, about, rows)


def _check_inside(path: Path) -> None:
    for entry in path.rglob("*"):
        if entry.is_symlink() and not entry.resolve().is_relative_to(path.resolve()):
            raise InputError(
                f"{entry} is a link that leads out of the run's folder, where a report reads "
                "nothing; put a copy of what it leads to in its place."
            )


def _short(model: str) -> str:
    """The last part of a path; a callable's whole name."""
    return model if ":" in model else Path(model).name or model
