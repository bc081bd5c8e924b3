"""Whatever takes a path takes it as text, as a `Path` and as any other path of Python's."""

import inspect
from pathlib import Path
from typing import get_args

import pytest

from holdfast import L2, EvaluationConfig, evaluate
from holdfast.attacks import FGSM
from holdfast.bundle import verify, write_bundle
from holdfast.errors import InputError, InputTypeError
from holdfast.evaluation import Evaluation, compare
from holdfast.files import StrPath, as_path
from holdfast.models import Architecture
from holdfast.models.checkpoint import load_model, save_model
from holdfast.report.page import build
from holdfast.report.subjects import read_subjects
from holdfast.results import read_about, read_images, read_rows, runs_in
from holdfast.training import kept_epochs, save_epoch, start_from
from tests.test_examples import exports, modules
from tests.toys import images, small_network


class Place:
    """A path that is neither text nor a `Path`."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with a run, a network, and the networks of a training's epochs."""
    folder = tmp_path_factory.mktemp("kept")
    model, x = small_network(), images(3)
    config = EvaluationConfig(keep_images=3, audit=0)
    attacks = {"fgsm": FGSM(L2(0.5))}
    evaluate(model, x, model(x).argmax(dim=1), attacks, config=config, out=folder / "run")
    small = Architecture(name="small", shape=(1, 8, 8), classes=3)
    save_model(folder / "net.safetensors", small.build(seed=0), small)
    save_epoch(folder / "training", 0, small.build(seed=0), small)
    return folder


READERS = {
    "read_about": (lambda path: read_about(path)["kind"], "run"),
    "read_rows": (lambda path: read_rows(path).to_csv(), "run"),
    "read_images": (lambda path: read_images(path, 1)["x_adv"].tolist(), "run"),
    "runs_in": (lambda path: [str(run) for run in runs_in(path)], "run"),
    "read_subjects": (lambda path: [subject.name for subject in read_subjects([path])], "run"),
    "Evaluation.read": (lambda path: Evaluation.read(path).cells, "run"),
    "compare": (lambda path: compare(path, path).summary(), "run"),
    "verify": (lambda path: verify(path).summary(), "run"),
    "load_model": (lambda path: load_model(path).state_dict().keys(), "net.safetensors"),
    "start_from": (lambda path: start_from(path)[1], "net.safetensors"),
    "kept_epochs": (lambda path: kept_epochs(path), "training"),
}


@pytest.mark.parametrize(("read", "name"), READERS.values(), ids=READERS)
def test_a_reader_reads_the_same_however_its_path_is_given(read, name, kept):
    path = kept / name
    assert read(str(path)) == read(path) == read(Place(path))


@pytest.mark.parametrize("way", [str, Path, Place])
def test_a_report_and_a_bundle_are_written_where_they_are_asked_for(way, kept, tmp_path):
    assert build([way(kept / "run")], way(tmp_path / "report")) == tmp_path / "report/report.html"
    write_bundle([way(kept / "run")], way(tmp_path / "study.zip"))
    assert not verify(way(tmp_path / "study.zip")).contradictions


@pytest.mark.parametrize("read", [read_rows, load_model, verify, read_about])
def test_an_empty_path_is_not_the_working_directory(read, kept, monkeypatch):
    monkeypatch.chdir(kept / "run")
    with pytest.raises(InputError, match="names no file or folder; the working directory"):
        read("")


def test_what_is_no_path_is_refused_in_a_sentence(unchecked):
    for wrong in (5, None, b"run", ["run"]):
        with pytest.raises(InputTypeError, match=r"^a path is"):
            as_path(wrong)


def test_every_function_that_takes_a_path_takes_text_too():
    narrow = [
        f"{name}({parameter.name})"
        for module in modules()
        for name, thing in exports(module)
        for parameter in _parameters(thing)
        if Path in _parts(parameter.annotation)
    ]
    assert not narrow, f"these take a Path alone, not a {StrPath}: {', '.join(narrow)}"


def _parameters(thing):
    """Of a function, or of what makes or reads a class without being its constructor."""
    if inspect.isclass(thing):
        made = [each.__func__ for each in vars(thing).values() if isinstance(each, classmethod)]
    else:
        made = [thing]
    for each in made:
        yield from inspect.signature(each, eval_str=True).parameters.values()


def _parts(annotation):
    """What an annotation names, but not what a function that is given takes."""
    yield annotation
    if "Callable" not in str(annotation):
        for part in get_args(annotation):
            yield from _parts(part)
