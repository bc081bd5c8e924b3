"""What a report is about: networks, the classifiers made of them, and their runs."""

import os.path
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from holdfast import metrics
from holdfast.data import UNSORTED
from holdfast.errors import InputError
from holdfast.files import StrPath
from holdfast.report.distinct import attacks_apart, certificates_apart
from holdfast.report.folders import TRAINING, CertifiedRun, RunFolder, certificates, read_folder
from holdfast.results import CLEAN, runs_in, same
from holdfast.results.schema import TITLES

__all__ = ["mixed", "read_subjects"]


@dataclass(frozen=True)
class Classifier:
    """A base classifier, or the one smoothed from it by noise, with all runs that met it.

    Attributes:
        network: the base classifier's name.
        noise: family and deviation of the noise; None for the base classifier.
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
            return "base classifier"
        family, sigma = self.noise
        return f"smoothed classifier, {TITLES[family]} σ = {sigma:g}"

    @property
    def label(self) -> str:
        """As sentences and figures name it, among those of other networks."""
        if self.noise is None:
            return self.network
        family, sigma = self.noise
        kind = "" if family == "gaussian" else f"{TITLES[family]} "
        return f"{self.network}, smoothed with {kind}σ = {sigma:g}"

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
    def runs(self) -> list[RunFolder]:
        """Its evaluations, and its certifications, each once."""
        certified = {run.path: run for run in self.certifications}
        return [*self.evaluations, *certified.values()]

    @property
    def proof(self) -> CertifiedRun | None:
        """The certificates that the summary shows: from the most votes, if they hold."""
        holding = [run for run in self.certifications if run.guaranteed]
        return next((run for run in [*self.proofs, *holding] if run.top == 1), None)

    @property
    def proofs(self) -> list[CertifiedRun]:
        """All certificates of the smoothed classifier that hold: no attack may contradict one."""
        return [run for run in self.certifications if run.guaranteed and run.of_votes]

    @property
    def top_proof(self) -> CertifiedRun | None:
        """The certificates of more than the first class that the summary shows, if there are any.

        They stand by themselves: robust accuracy is of the first class.
        """
        return next((run for run in self.certifications if run.guaranteed and run.top > 1), None)

    @cached_property
    def attacked(self) -> pd.DataFrame:
        """Rows of all attacks."""
        return self._rows[self._rows["attack"] != CLEAN]

    @cached_property
    def at_sizes(self) -> pd.DataFrame:
        """The same, attacks without a limit read at finite sizes."""
        return metrics.at_finite_sizes(self.attacked)

    @cached_property
    def worst(self) -> pd.DataFrame:
        """The worst case over all attacks, by norm and size."""
        return metrics.worst_case(self.at_sizes)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Accuracy under each attack at each size."""
        return metrics.cells(self.at_sizes)

    def attacked_in(self, norm: str) -> pd.DataFrame:
        """The same, of the attacks in one norm; no rows if there are none."""
        if not self.evaluations:
            return pd.DataFrame(columns=["index", "label", "prediction", "attack", "eps"])
        return self.at_sizes[self.at_sizes["norm"] == norm]

    @property
    def clean(self) -> pd.DataFrame:
        """Rows of the unattacked images, in the evaluation with the most."""
        rows = max((run.rows for run in self.evaluations), key=lambda rows: rows["index"].nunique())
        return rows[rows["attack"] == CLEAN]

    @property
    def without_attack(self) -> "pd.Series[float]":
        """Accuracy on the unattacked images, with its interval."""
        return metrics.without_attack(self.clean)

    @property
    def _rows(self) -> pd.DataFrame:
        every = [
            metrics.ranked(run.rows, len(run.about.get("classes", ()))) for run in self.evaluations
        ]
        return pd.concat(every, ignore_index=True)


@dataclass(frozen=True)
class Subject:
    """A network and the classifiers made of it, the base classifier first.

    Attributes:
        name: what the report calls it.
        classifiers: the base classifier and those smoothed from it.
        training: how it was trained, if its folder is one of those given.
    """

    name: str
    classifiers: list[Classifier]
    training: RunFolder | None

    @property
    def runs(self) -> list[RunFolder]:
        """Everything that is known of it: training, evaluations, certifications."""
        found = [self.training] if self.training else []
        return found + [run for classifier in self.classifiers for run in classifier.runs]


def read_subjects(paths: Sequence[StrPath]) -> list[Subject]:
    """Group runs by the network that they met: one of that name, weights, source and answers.

    Weights alone do not tell: a network and the same one behind a layer that quantises have equal
    ones.

    Raises:
        MissingFileError: if a folder holds no run.
        DamagedFileError: if a run is not what Holdfast writes.
        InputError: if a run is not finished, leads out of its folder, or is neither an evaluation
            nor a certification nor the training of a network that one of these met, or if the runs
            are about different data sets or images.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.report.subjects import read_subjects
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> [subject] = read_subjects(["run"])
        >>> len(subject.classifiers)
        1
    """
    each = {run.resolve(): run for path in paths for run in runs_in(path)}
    given = [read_folder(path) for path in each.values()]
    trainings = [run for run in given if run.about["kind"] in TRAINING]
    runs = [run for run in given if run.about["kind"] not in TRAINING]
    _check_met(trainings, runs)
    names = {run.settings["data"] for run in runs}
    if len(names) > 1:
        raise InputError(
            f"the runs are about different data sets ({', '.join(sorted(names))}); make a report "
            "of each."
        )
    networks: list[list[RunFolder]] = []
    for run in runs:
        for group in networks:
            if all(_same_network(run, other) for other in group):
                group.append(run)
                break
        else:
            networks.append([run])
    subjects: list[Subject] = []
    for group in networks:
        _check_images(group)
        name = _name(group, networks)
        made = (training for training in trainings if _met(training, group))
        subjects.append(Subject(name, _classifiers(name, group), next(made, None)))
    return subjects


def mixed(subjects: Sequence[Subject]) -> list[str]:
    """A sentence for each thing in which runs differ that stand beside each other on one page.

    Runs of one network on other images are refused by `read_subjects`; networks that met other
    images are each shown, and it is said.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.report.subjects import mixed, read_subjects
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> mixed(read_subjects(["run"]))
        []
    """
    notes = []
    met: dict[str, list[str]] = {}
    for subject in subjects:
        runs = [run.settings for run in subject.runs if run is not subject.training]
        most = max(runs, key=lambda settings: int(settings["images"]))
        met.setdefault(most["data_fingerprint"], []).append(f"{subject.name}: {most['images']}")
    if len(met) > 1:
        notes.append(
            "The models met different images of the data set "
            f"({'; '.join(', '.join(names) for names in met.values())}), so their numbers differ "
            "by the choice of images too."
        )
    versions: dict[str, list[str]] = {}
    for subject in subjects:
        for run in subject.runs:
            if run is not subject.training:
                versions.setdefault(run.version or "unknown", []).append(str(run.path))
    if len(versions) > 1:
        listed = "; ".join(f"{version}: {', '.join(paths)}" for version, paths in versions.items())
        notes.append(
            f"The runs were made by different versions of Holdfast ({listed}); attacks and "
            "certificates of different versions are kept apart."
        )
    return notes


def _same_network(one: RunFolder, other: RunFolder) -> bool:
    """Whether two runs met one network, as far as they recorded of it what can be compared."""
    mine, theirs = one.settings, other.settings
    if (_model(one), mine["model_fingerprint"]) != (_model(other), theirs["model_fingerprint"]):
        return False
    if len({settings.get("model_source") for settings in (mine, theirs)} - {None}) > 1:
        return False
    # A certification asks the network itself, an evaluation what noise makes of it.
    asked = [
        (run.settings["data_fingerprint"], run.noise if run.about["kind"] == "evaluate" else None)
        for run in (one, other)
    ]
    answers = [settings.get("model_answers") for settings in (mine, theirs)]
    return asked[0] != asked[1] or None in answers or same(*answers)


def _name(group: Sequence[RunFolder], networks: Sequence[Sequence[RunFolder]]) -> str:
    """What to call a network: the end of its name, and what tells it from others of that name."""
    first, every = group[0], [runs[0] for runs in networks]
    model, weights = _model(first), first.settings["model_fingerprint"]
    namesakes = [run.settings["model_fingerprint"] for run in every if _model(run) == model]
    alike = [run for run in every if _short(_model(run)) == _short(model)]
    name = _short(model) if len(alike) == 1 else model
    if len(set(namesakes)) > 1:
        name = f"{name} ({weights[:6]})"
    if namesakes.count(weights) > 1:
        name = f"{name} (answers as in {first.path})"
    return name


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
                attacks_apart([run for run in mine if run.about["kind"] == "evaluate"]),
                certificates_apart(
                    sorted(
                        [
                            part
                            for run in mine
                            if run.about["kind"] == "certify"
                            for part in certificates(run)
                        ],
                        key=lambda part: (
                            part.top > 1,
                            not part.guaranteed,
                            -part.settings["votes"],
                            -part.settings["images"],
                        ),
                    )
                ),
            )
        )
    return found


def _check_images(runs: Sequence[RunFolder]) -> None:
    """Check that an index is the same image in all runs of a network, some of which had fewer.

    Raises:
        InputError: if it is not, or nobody knows.
    """
    most = max(runs, key=lambda run: int(run.settings["images"]))
    labels = most.rows.drop_duplicates("index").set_index("index")["label"]
    for run in runs:
        mine, theirs = run.settings, most.settings
        fewer = mine["images"] < theirs["images"]
        # A limit takes the first images of a data set, but of image files evenly spaced ones.
        first = mine["data"] in (*UNSORTED, "tensors")
        # Before formats had numbers, other parts of the images were hashed: the labels tell.
        unlike = ("format" in run.about) != ("format" in most.about)
        same = mine["shape"] == theirs["shape"] and (
            (fewer and first) or unlike or mine["data_fingerprint"] == theirs["data_fingerprint"]
        )
        if not same or (run.rows["label"] != run.rows["index"].map(labels)).any():
            raise InputError(
                f"{run.path} ({mine['images']} images) and {most.path} ({theirs['images']} images) "
                f"are about different images of {mine['data']}, so their numbers cannot stand "
                "beside each other: make a report of each, or run both on the same images."
            )


def _model(run: RunFolder) -> str:
    """The name of the model that a run met, whether its folder was named or the file in it."""
    plain = str(run.settings["model"]).replace("/model.safetensors", "")
    return plain if ":" in plain else os.path.normpath(plain)


def _short(model: str) -> str:
    """The last part of a path; a callable's whole name."""
    return model if ":" in model else Path(model).name or model
