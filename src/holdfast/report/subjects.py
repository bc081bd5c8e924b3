"""What a report is about: networks, the classifiers made of them, and their runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from holdfast import metrics
from holdfast.certify.procedure import INTERVALS
from holdfast.errors import HoldfastError, InputError
from holdfast.judge import CLEAN
from holdfast.results import read_about, read_rows

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
        training: how it was trained, if its folder is still where the runs found it.
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
        InputError: if a run is not finished, is neither an evaluation nor a certification, or the
            runs are about different data sets.
    """
    runs = [_read(path) for path in paths]
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
        training = _training(Path(group[0].settings["model"]))
        subjects.append(Subject(name, _classifiers(name, group), training))
    return subjects


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
    about = read_about(path)
    if about["kind"] not in ("evaluate", "certify"):
        raise InputError(
            f"{path} is a run of holdfast {about['kind']}; a report shows evaluations and "
            "certifications."
        )
    if not about["complete"]:
        raise InputError(
            f"{path} is not finished; run its holdfast {about['kind']} command again to finish it."
        )
    rows = read_rows(path)
    if about["kind"] == "certify" and "bound" not in rows:  # of revisions that knew one of each
        settings = about["settings"]
        rows = rows.assign(bound=settings["bound"], interval=settings["interval"])
    return RunFolder(path, about, rows)


def _training(model: Path) -> RunFolder | None:
    """The run that made a network: its folder, or the one that the file lies in."""
    folder = model if model.is_dir() else model.parent
    try:
        about = read_about(folder)
    except HoldfastError:
        return None
    return RunFolder(folder, about) if about["kind"] in ("train", "tune") else None


def _short(model: str) -> str:
    """The last part of a path; a callable's whole name."""
    return model if ":" in model else Path(model).name or model
