"""Which runs are of one network: those of its classifiers, and the training that made it."""

import os.path
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from holdfast import metrics
from holdfast.data import UNSORTED
from holdfast.errors import InputError
from holdfast.files import StrPath
from holdfast.report.classifier import Classifier
from holdfast.report.distinct import attacks_apart, certificates_apart
from holdfast.report.folders import TRAINING, RunFolder, certificates, read_folder
from holdfast.results import runs_in, same

__all__ = ["mixed", "read_subjects"]


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
        made = _maker(trainings, group)
        subjects.append(Subject(name, _classifiers(name, group), made))
    return _read_alike(subjects)


def _read_alike(subjects: Sequence[Subject]) -> list[Subject]:
    """The same, all attacks without a limit read at the sizes of every classifier."""
    attacked = [
        metrics.finite_sizes(pd.concat([run.attacked for run in each.evaluations]))
        for subject in subjects
        for each in subject.classifiers
        if each.evaluations
    ]
    sizes = {
        norm: np.unique(np.concatenate([found[norm] for found in attacked if norm in found]))
        for norm in {norm for found in attacked for norm in found}
    }
    return [
        replace(subject, classifiers=[replace(each, beside=sizes) for each in subject.classifiers])
        for subject in subjects
    ]


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
            other = " with these weights" if _named(training, runs) else ""
            raise InputError(
                f"{training.path} is a run of holdfast {training.about['kind']}, and none of the "
                f"other runs met its network{other}; a report shows evaluations and "
                "certifications, so give those of this network beside it."
            )


def _maker(trainings: Sequence[RunFolder], runs: Sequence[RunFolder]) -> RunFolder | None:
    """The training that made the network of some runs.

    Of several that came to the same weights, the one that the runs name.
    """
    made = [training for training in trainings if _met(training, runs)]
    return next(iter([*(one for one in made if _named(one, runs)), *made]), None)


def _met(training: RunFolder, runs: Sequence[RunFolder]) -> bool:
    """Whether a run met the network that a training made.

    Its weights tell, since folders are renamed and moved, and another training may since have the
    place of one; a training of an earlier version did not record them, which leaves the place.
    """
    made = training.about.get("model_fingerprint")
    if made is None:
        return _named(training, runs)
    return any(run.settings["model_fingerprint"] == made for run in runs)


def _named(training: RunFolder, runs: Sequence[RunFolder]) -> bool:
    """Whether a run names the network that a training made: by its folder, or a file in it."""
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
