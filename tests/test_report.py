import contextlib
import hashlib
import io
import json
import math
import re
import shutil
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import holdfast
from holdfast import lock, metrics
from holdfast.attacks import FGSM, FMN, PGD, On, Square, Worst
from holdfast.bundle import verify, write_bundle
from holdfast.certify.config import CertificationConfig
from holdfast.certify.run import certify_data
from holdfast.cli.common import print_table
from holdfast.data import Data
from holdfast.defenses import Binarise, GaussianNoise
from holdfast.errors import (
    ContradictionError,
    DamagedFileError,
    HoldfastError,
    InputError,
    MissingFileError,
    OutputError,
)
from holdfast.evaluation import EvaluationConfig, evaluate, evaluate_data
from holdfast.files import read_json, read_table, read_tensors, write_json, write_tensors
from holdfast.models import Architecture
from holdfast.models.loading import load
from holdfast.report import figures, pictures, style, tables
from holdfast.report.figures import floor_and_ceiling
from holdfast.report.gallery import Example, Gallery, gallery_of
from holdfast.report.headline import headline
from holdfast.report.implied import floor, largest_radius
from holdfast.report.latex import to_latex
from holdfast.report.page import build
from holdfast.report.subjects import mixed, read_subjects
from holdfast.report.tables import strongest_attacks, summary
from holdfast.threat import L2, Linf
from holdfast.training import Schedule, Selection, Standard, train_data
from tests.toys import Wrapped, images, small_network, two_class

VOID = {"meta", "img", "br", "link"}

#: Where the page begins to show the runs as they were recorded.
RECORDS = '<details class="record">'


class Page(HTMLParser):
    """Checks that every element is closed; collects addresses and text."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag, attrs):
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two networks; the first evaluated with and without noise and certified, in three channels."""
    root = tmp_path_factory.mktemp("runs")
    x = images(12, (3, 6, 6))
    made = {}
    for seed, name in enumerate(("one", "two")):
        model = small_network((3, 6, 6), seed=seed)
        data = Data.of(x, model(x).argmax(dim=1))
        base = f"nets/{name}"
        for norm, kind, sizes in (("linf", Linf, (0.02, 0.1)), ("l2", L2, (0.1, 0.5))):
            attacks = [(n, m(kind(s))) for s in sizes for n, m in (("fgsm", FGSM), ("pgd", PGD))]
            made[f"{name}-{norm}"] = root / f"{name}-{norm}"
            evaluate_data(model, data, attacks, EvaluationConfig(), base, made[f"{name}-{norm}"])
        if name == "one":
            made["vote"] = root / "vote"
            evaluate_data(
                nn.Sequential(GaussianNoise(0.1), model),
                data,
                [("pgd", PGD(L2(0.5), steps=3))],
                EvaluationConfig(votes=20, samples=2),
                base,
                made["vote"],
            )
        made[f"{name}-cert"] = root / f"{name}-cert"
        certify_data(
            model, data, CertificationConfig(sigma=0.1, votes=100), base, made[f"{name}-cert"]
        )
    return made


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report"
    return build(list(runs.values()), out)


def page_of(path):
    page = Page()
    page.feed(path.read_text())
    page.close()
    assert page.open == []
    return page


def content_of(path):
    """What the page's figures show."""
    (text,) = re.findall(
        r'<script type="application/json" id="content">(.*?)</script>', path.read_text()
    )
    return json.loads(text)


def test_the_page_needs_nothing_else(report):
    page = page_of(report)
    assert page.addresses
    for address in page.addresses:
        assert address.startswith("#")
    style = report.read_text().split("</style>")[0]
    assert "@import" not in style
    assert "url(" not in style


def test_it_shows_everything_named(report):
    page = page_of(report)
    text = " ".join(page.text)
    for words in (
        "robust accuracy",
        "Certified accuracy",
        "in the worst case over",
        "95 % interval",
        "The audit",
        "one",
        "two",
        "one, smoothed with σ = 0.1",
        "Models compared",
        "Under each attack",
        "Who broke what",
        "Who is robust, by class",
        "Images that were fooled",
        "Every image",
        "12 images of tensors, 3 × 6 × 6",
        "I. Goodfellow",
        "Settings",
        "prefers-color-scheme",
        '"seed": 0',
    ):
        assert words in text, words
    assert 'name="viewport"' in report.read_text()
    content = content_of(report)
    assert [model["label"] for model in content["models"]] == [
        "one",
        "one, smoothed with σ = 0.1",
        "two",
        "two, smoothed with σ = 0.1",
    ]
    assert set(content["views"]) == {
        "0 linf",
        "0 l2",
        "1 linf",
        "1 l2",
        "2 linf",
        "2 l2",
        "3 linf",
        "3 l2",
    } - {"1 linf", "3 linf"}
    assert content["attacks"] == ["fgsm", "pgd"]
    assert {example["attack"] for example in content["examples"]} == {"fgsm", "pgd"}


def test_a_floor_without_a_ceiling_says_so(report):
    text = " ".join(page_of(report).text)
    assert "No attack was run on the smoothed classifier" in text
    assert "--sigma 0.1 --norm l2" in text
    assert "contradicted by an attack: 0 of" in text


def test_the_numbers_behind_it(report, runs):
    tables = report.parent / "tables"
    attacks = read_table(tables / "attacks.csv")
    assert set(attacks["network"]) == {"one", "two"}
    assert len(attacks) == 2 * 8 + 1
    cells = read_json(runs["one-linf"] / "run.json")["cells"]
    found = attacks[(attacks["network"] == "one") & (attacks["norm"] == "linf")]
    assert list(found["robust_accuracy"]) == [cell["robust_accuracy"] for cell in cells]
    strongest = read_table(tables / "worst-case.csv")
    for _, group in strongest.groupby(["network", "classifier", "norm"]):
        assert group.sort_values("eps")["robust_accuracy"].is_monotonic_decreasing
        assert (group["low"] <= group["robust_accuracy"]).all()
    certified = read_table(tables / "certified.csv")
    ratio = certified["times_confidence"] / certified["robust_accuracy"]
    assert ratio[certified["robust_accuracy"] > 0].round(9).eq(0.95).all()
    about = read_json(report.parent / "report.json")
    assert {run["path"] for run in about["runs"]} == {str(path) for path in runs.values()}
    assert {"versions", "settings", "hardware"} <= set(about["runs"][0])


def test_an_l2_certificate_proves_a_smaller_linf_radius(runs):
    """A perturbation of e in every one of d pixels has ℓ2 length e·√d; in ℓ1 it has at most e."""
    (subject,) = read_subjects([runs["one-cert"]])
    (run,) = subject.classifiers[0].certifications
    radii = run.rows["radius"][run.rows["prediction"] == run.rows["label"]]
    middle = float(radii.median())
    fraction = float((radii >= middle).sum() / len(run.rows))
    for norm, size in (
        ("l2", middle),
        ("l1", middle),
        ("linf", middle / (3 * 6 * 6) ** 0.5),
        ("l0", middle**2),  # no component changes by more than 1
    ):
        assert floor(run, norm, [size * (1 - 1e-9)])["robust_accuracy"].tolist() == [fraction]
        assert floor(run, norm, [size * 1.001])["robust_accuracy"][0] < fraction


def test_several_bounds_intervals_and_noises(tmp_path):
    model, x = small_network(), images(12)
    data, base = Data.of(x, model(x).argmax(dim=1)), "net"
    hows = {
        "several": CertificationConfig(
            sigma=0.1, bounds=("cohen", "renyi"), intervals=("sison-glaz", "two-sample")
        ),
        "laplace": CertificationConfig(sigma=0.1, noise="laplace", bounds=("laplace",)),
        "early": CertificationConfig(
            sigma=0.2, intervals=("sequential",), radii=(0.05,), votes=500
        ),
    }
    for name, how in hows.items():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the limits of sison-glaz")
            certify_data(model, data, how, base, tmp_path / name)
    runs = [tmp_path / name for name in hows]
    (subject,) = read_subjects(runs)
    gaussian, early, laplace = subject.classifiers
    assert [(run.bound, run.interval) for run in gaussian.certifications] == [
        ("cohen", "two-sample"),
        ("renyi", "two-sample"),
        ("cohen", "sison-glaz"),
        ("renyi", "sison-glaz"),
    ]
    assert gaussian.proof.interval == "two-sample"
    assert early.title == "smoothed classifier, noise σ = 0.2"
    proof = laplace.proof
    right = proof.rows["prediction"] == proof.rows["label"]
    radius = float(proof.rows["radius"][right].max())
    for norm, power in (("l1", 0), ("l2", 1), ("linf", 2)):
        size = radius / 6**power * (1 - 1e-9)
        assert floor(proof, norm, [size])["robust_accuracy"][0] > 0
        assert floor(proof, norm, [size * 1.001])["robust_accuracy"][0] == 0
    assert largest_radius(proof, "l0") == pytest.approx(radius)
    html = build(runs, tmp_path / "report").read_text()
    for words in (
        "cohen, sison-glaz (does not hold), 100 votes",
        "votes on average",
        "stop once their",
    ):
        assert words in html
    assert (tmp_path / "report" / "figures" / "certified-l2.pdf").exists()
    certified = read_table(tmp_path / "report" / "tables" / "certified.csv")
    assert set(certified["norm"]) == {"l1", "l2"}


def test_every_certificate_that_holds_is_held_against_the_attacks(tmp_path):
    """Not only the first one; but not the certificates of mean scores, whose vote is another."""
    model, x, base = small_network(), images(12), "net"
    data = Data.of(x, model(x).argmax(dim=1))
    noisy = nn.Sequential(GaussianNoise(0.1), model)
    attack = [("fgsm", FGSM(L2(0.5)))]
    evaluate_data(
        noisy, data, attack, EvaluationConfig(votes=20, samples=2), base, tmp_path / "attack"
    )
    broken = {"fooled": True, "votes_for_prediction": 20, "votes_for_label": 0}
    _rewrite(tmp_path / "attack", lambda rows: rows.assign(**broken))
    for interval in ("clopper-pearson", "hoeffding"):
        how = CertificationConfig(sigma=0.1, bounds=("renyi", "cohen"), intervals=(interval,))
        out = tmp_path / interval
        certify_data(model, data, how, base, out)
        _rewrite(
            out,
            lambda rows: rows.assign(
                prediction=rows["label"], radius=(rows["bound"] == "cohen") * 1.0
            ),
        )
    with pytest.raises(ContradictionError, match=r"certified \(cohen, clopper-pearson\)") as raised:
        build([tmp_path / "attack", tmp_path / "clopper-pearson"], tmp_path / "wrong")
    assert "renyi" not in str(raised.value)
    assert "certificates or the attack" in (tmp_path / "wrong" / "report.html").read_text()
    html = build([tmp_path / "attack", tmp_path / "hoeffding"], tmp_path / "right").read_text()
    assert "hoeffding (mean scores)" in html


def _rewrite(run, change):
    """Another run, as if it had found these rows."""
    rows = change(read_table(run / "rows.csv"))
    rows.to_csv(run / "rows.csv", index=False)
    written = hashlib.sha256((run / "rows.csv").read_bytes()).hexdigest()
    write_json(run / "run.json", {**read_json(run / "run.json"), "rows_sha256": written})


def test_changed_rows_are_not_reported(tmp_path):
    x, y = images(3), torch.zeros(3, dtype=torch.int64)
    evaluate(small_network(), x, y, {"fgsm": FGSM(Linf(0.1))}, out=tmp_path / "run")
    rows = tmp_path / "run" / "rows.csv"
    rows.write_text(rows.read_text().replace("0.1", "0.2"))
    with pytest.raises(DamagedFileError, match=r"rows\.csv is not what the run wrote"):
        build([tmp_path / "run"], tmp_path / "report")


def test_long_legends_leave_the_plot_its_size():
    curve = pd.DataFrame({"eps": [0.0, 1.0], "robust_accuracy": 0.5, "low": 0.4, "high": 0.6})
    label = "certified (floor), pixeldp, clopper-pearson, 100000 votes, 99.9 %, 10000 images"
    heights = []
    for count in (1, 9):
        floors = [(label, curve)] * count
        figure = floor_and_ceiling("l2", curve[:0], floors, curve[:0])
        (axes,), (legend,) = figure.axes, figure.legends
        heights.append(axes.get_window_extent().height)
        assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert heights[1] > 0.8 * heights[0]
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == 9


def test_figures_for_a_paper(report):
    figures = report.parent / "figures"
    names = {path.name for path in figures.iterdir()}
    assert "bounds-one-noise-0.1-l2.pdf" in names
    assert "attacks-two-network-linf.svg" in names
    assert any(name.startswith("gallery-one") for name in names)
    for path in figures.glob("*.pdf"):
        assert path.read_bytes().startswith(b"%PDF")
        assert path.with_name(path.name[:-3] + "svg").exists()


def test_the_same_runs_make_the_same_report_again(report, runs):
    before = report.read_bytes()
    assert build(list(runs.values()), report.parent) == report
    assert report.read_bytes() == before


def test_a_report_of_other_runs_is_not_overwritten(report, runs, tmp_path):
    before = report.read_bytes()
    with pytest.raises(OutputError, match="other runs"):
        build([runs["one-linf"]], report.parent)
    assert report.read_bytes() == before
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        build([runs["one-linf"]], tmp_path)


def test_a_killed_report_goes_on_and_nothing_of_it_is_left(runs, tmp_path):
    page = build([runs["one-linf"]], tmp_path / "whole")
    out = tmp_path / "killed"
    out.mkdir()
    (out / ".report.json.0f1e2d3c.tmp").write_text("{")  # killed before it said of which runs it is
    build([runs["one-linf"]], out)
    for folder in (out, out / "tables", out / "figures", out / "images"):
        (folder / ".a.svg.0f1e2d3c.tmp").write_text("<")
    (out / "report.html").unlink()
    build([runs["one-linf"]], out)
    named = [sorted(path.relative_to(at) for path in at.rglob("*")) for at in (out, page.parent)]
    assert named[0] == named[1]
    assert (out / "report.html").read_bytes() == page.read_bytes()


def test_of_two_processes_that_write_one_report_the_second_is_told(runs, tmp_path):
    out = tmp_path / "report"
    out.mkdir()
    with lock.held(out), pytest.raises(OutputError, match="in use by process"):
        build([runs["one-linf"]], out)
    assert not list(out.iterdir())


@pytest.mark.parametrize("names", [("one-linf",), ("one-cert",), ("vote",), ("one-l2", "one-cert")])
def test_any_runs_make_a_report(runs, tmp_path, names):
    page_of(build([runs[name] for name in names], tmp_path / "report"))


def trained(path, kind="train"):
    """The folder of a finished training run."""
    path.mkdir(parents=True)
    settings = {"data": "tensors", "data_fingerprint": "0", "images": 1, "held_out": 0, "seed": 0}
    settings["objective"] = "the secret of " + path.name
    write_json(path / "run.json", {"kind": kind, "complete": True, "settings": settings})
    return path


def test_nothing_is_read_outside_the_folders_that_were_given(runs, tmp_path, monkeypatch):
    """A run says where its network lay; a stranger's run may say anything."""
    monkeypatch.chdir(tmp_path)
    training = trained(tmp_path / "nets" / "one")
    page = build([runs["one-linf"]], tmp_path / "alone").read_text()
    assert "the secret of one" not in page
    page = build([training, runs["one-linf"]], tmp_path / "both").read_text()
    assert "the secret of one" in page
    with pytest.raises(InputError, match=r"two is a run of holdfast train, and none of the other"):
        build([trained(tmp_path / "nets" / "two"), runs["one-linf"]], tmp_path / "other")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of trainings of other seeds, the first with the network of each epoch, evaluated."""
    root = tmp_path_factory.mktemp("made")
    data = Data.of(images(12, (1, 8, 8)), torch.arange(12) % 3)
    small = Architecture(name="small", shape=(1, 8, 8), classes=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for seed, name in enumerate(("net", "other")):
            how = Schedule(epochs=2, batch_size=4, seed=seed, accelerator="cpu")
            best = Selection(metric="val_accuracy", larger=True)
            more = {"held_out": 4, "selection": best, "keep_epochs": name == "net"}
            train_data(small, data, Standard(), how, f"runs/{name}", **more)
        for name, spec in (("eval", "runs/net"), ("first", "runs/net/epochs/000.safetensors")):
            attacks = [("fgsm", FGSM(Linf(0.1)))]
            evaluate_data(load(spec), data, attacks, EvaluationConfig(), spec, f"runs/{name}")
    return root / "runs"


class TestATrainingIsKnown:
    """By what it made, wherever it lies; those of earlier versions by where they lay."""

    def moved(self, made, tmp_path, monkeypatch):
        shutil.copytree(made, tmp_path / "elsewhere")
        monkeypatch.chdir(tmp_path)
        return tmp_path / "elsewhere"

    def test_after_the_folder_that_holds_all_runs_was_moved(self, made, tmp_path, monkeypatch):
        runs = self.moved(made, tmp_path, monkeypatch)
        (subject,) = read_subjects([runs / "net", runs / "eval"])
        assert subject.training.path == runs / "net"
        page = build([runs / "net", runs / "eval"], tmp_path / "report")
        assert "Standard(" in page.read_text(encoding="utf-8")

    def test_by_the_network_that_it_kept_and_no_other_of_its_epochs(
        self, made, tmp_path, monkeypatch
    ):
        runs = self.moved(made, tmp_path, monkeypatch)
        with pytest.raises(InputError, match="none of the other runs met its network; "):
            read_subjects([runs / "net", runs / "first"])
        subjects = read_subjects([runs / "net", runs / "eval", runs / "first"])
        assert [subject.training is not None for subject in subjects] == [True, False]

    def test_and_another_one_is_not_even_in_its_place(self, made, tmp_path, monkeypatch):
        runs = self.moved(made, tmp_path, monkeypatch)
        with pytest.raises(InputError, match="none of the other runs met its network; "):
            read_subjects([runs / "other", runs / "eval"])
        (runs / "net").rename(runs / "before")
        (runs / "other").rename(runs / "net")
        runs.rename(tmp_path / "runs")
        with pytest.raises(InputError, match="met its network with these weights; "):
            read_subjects(["runs/net", "runs/eval"])
        (subject,) = read_subjects(["runs/before", "runs/eval"])
        assert subject.training.path.name == "before"

    def test_of_copies_the_one_is_shown_that_the_runs_name(self, made, tmp_path, monkeypatch):
        runs = self.moved(made, tmp_path, monkeypatch).rename(tmp_path / "runs")
        shutil.copytree(runs / "net", tmp_path / "copy")
        (subject,) = read_subjects(["copy", "runs/net", "runs/eval"])
        assert subject.training.path.parts == ("runs", "net")

    def test_and_shown_once_of_a_network_that_has_two_names(self, made, tmp_path, monkeypatch):
        runs = self.moved(made, tmp_path, monkeypatch)
        shutil.copytree(runs / "eval", runs / "again")
        about = read_json(runs / "again" / "run.json")
        about["settings"]["model"] = "elsewhere/net"
        write_json(runs / "again" / "run.json", about)
        paths = [runs / name for name in ("net", "eval", "again")]
        subjects = read_subjects(paths)
        assert [subject.training.path.name for subject in subjects] == ["net", "net"]
        build(paths, tmp_path / "report")
        shown = read_json(tmp_path / "report" / "report.json")["runs"]
        assert [one["path"] for one in shown] == list(map(str, paths))

    def test_of_an_earlier_version_by_its_place_alone(self, made, tmp_path, monkeypatch):
        runs = self.moved(made, tmp_path, monkeypatch)
        about = read_json(runs / "net" / "run.json")
        assert about.pop("model_fingerprint")
        write_json(runs / "net" / "run.json", about)
        with pytest.raises(InputError, match="none of the other runs met its network"):
            read_subjects([runs / "net", runs / "eval"])
        runs.rename(tmp_path / "runs")
        (subject,) = read_subjects(["runs/net", "runs/eval"])
        assert subject.training is not None

    def test_in_a_bundle_too(self, made, tmp_path, monkeypatch):
        runs = self.moved(made, tmp_path, monkeypatch)
        write_bundle([runs / "net", runs / "eval"], tmp_path / "study.zip")
        assert not verify(tmp_path / "study.zip").contradictions


@pytest.mark.parametrize("name", ["rows.csv", "run.json", "images/more.safetensors"])
def test_links_out_of_a_run_are_refused(runs, tmp_path, name):
    shutil.copytree(runs["one-linf"], tmp_path / "run")
    link = tmp_path / "run" / name
    outside = tmp_path / "outside"
    outside.write_bytes(link.read_bytes() if link.exists() else b"")
    link.unlink(missing_ok=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(InputError, match=rf"{name} is a link that leads out"):
        build([tmp_path / "run"], tmp_path / "report")


def test_a_link_to_itself_is_no_run(runs, tmp_path):
    shutil.copytree(runs["one-linf"], tmp_path / "run")
    (tmp_path / "run" / "rows.csv").unlink()
    (tmp_path / "run" / "rows.csv").symlink_to("rows.csv")
    with pytest.raises(MissingFileError, match="holds no rows"):
        build([tmp_path / "run"], tmp_path / "report")


def test_bad_input(runs, tmp_path):
    with pytest.raises(MissingFileError, match="holds no run"):
        build([tmp_path], tmp_path / "report")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    about = (runs["vote"] / "run.json").read_text().replace('"complete": true', '"complete": false')
    (unfinished / "run.json").write_text(about)
    with pytest.raises(InputError, match="not finished"):
        build([unfinished], tmp_path / "report")
    other = tmp_path / "other"
    x = torch.rand(4, 3, 6, 6)
    model = small_network((3, 6, 6))
    data = replace(Data.of(x, torch.tensor([0, 1, 2, 3])), name="elsewhere")
    evaluate_data(model, data, [("fgsm", FGSM(Linf(0.1)))], EvaluationConfig(), "m", other)
    with pytest.raises(InputError, match="different data sets"):
        build([other, runs["vote"]], tmp_path / "report")
    assert not (tmp_path / "report").exists()


class TestWhatIsNotOneThingStaysApart:
    """Never more rows than images; what differs is named."""

    @pytest.fixture(scope="class")
    @staticmethod
    def made(tmp_path_factory):
        """Evaluations of one network, each with its own name for the folder."""
        root, model, x = tmp_path_factory.mktemp("apart"), small_network(), images(12)
        y = model(x).argmax(dim=1)

        def attack(name, attacks, count=12, network=model, called="net", **config):
            data = Data.of(x[:count], y[:count])
            evaluate_data(network, data, attacks, EvaluationConfig(**config), called, root / name)

        pgd = PGD(Linf(0.1), steps=3)
        attack("zero", [("pgd", pgd)])
        attack("one", [("pgd", pgd)], seed=1)
        attack("again", [("pgd", pgd)])
        attack("larger", [("pgd", PGD(Linf(0.2), steps=3))])
        attack("fewer", [("pgd", pgd)], count=5)
        attack("transfer", [("pgd", On(small_network(seed=1), attack=pgd, name="other"))])
        attack("fgsm", [("fgsm", FGSM(Linf(0.1)))], count=7)
        quantised = nn.Sequential(Binarise(0.5), model)
        attack("quantised", [("pgd", pgd)], network=quantised, called="net binarised at 0.5")
        darker = nn.Sequential(Wrapped(torch.square), model)
        attack("darker", [("pgd", pgd)], network=darker, called="net, darker")
        attack("few darker", [("pgd", pgd)], network=darker, called="net, darker", count=5)
        attack("changed", [("pgd", pgd)], network=darker)
        return root

    def names(self, made, *runs):
        (subject,) = read_subjects([made / run for run in runs])
        (classifier,) = subject.classifiers
        cells = metrics.cells(classifier.attacked)
        rows = classifier.attacked.groupby(metrics.CELL)["index"]
        assert (rows.size() == rows.nunique()).all()
        assert cells["n"].max() <= 12
        assert metrics.worst_case(classifier.at_sizes)["n"].max() <= 12
        return list(cells["attack"])

    def test_two_seeds(self, made):
        assert self.names(made, "zero", "one") == ["pgd (seed 0)", "pgd (seed 1)"]

    def test_two_numbers_of_images(self, made):
        names = ["pgd (12 images)", "pgd (5 images)"]
        assert self.names(made, "zero", "fewer") == names

    def test_a_white_box_and_a_transfer(self, made):
        names = ["pgd (crafted on the model itself)", "pgd (crafted on other)"]
        assert self.names(made, "zero", "transfer") == names

    def test_a_run_and_its_repetition(self, made):
        zero, again = self.names(made, "zero", "again")
        assert "zero" in zero
        assert "again" in again
        assert self.names(made, "zero", "zero") == ["pgd"]

    def test_two_sizes_are_one_curve(self, made):
        assert self.names(made, "zero", "larger") == ["pgd", "pgd"]

    @pytest.mark.parametrize(
        ("other", "name"), [("quantised", "net binarised at 0.5"), ("darker", "net, darker")]
    )
    def test_equal_weights_behind_another_layer(self, made, other, name):
        subjects = read_subjects([made / "zero", made / other])
        assert [subject.name for subject in subjects] == ["net", name]

    def test_equal_weights_under_another_name_whose_answers_cannot_be_compared(self, made):
        """They are to other images."""
        subjects = read_subjects([made / "zero", made / "few darker"])
        assert [subject.name for subject in subjects] == ["net", "net, darker"]

    def test_equal_weights_that_answer_otherwise_under_one_name(self, made):
        runs = [made / "zero", made / "changed", made / "larger"]
        subjects = read_subjects(runs)
        names = [f"net (answers as in {run})" for run in runs[:2]]
        assert [subject.name for subject in subjects] == names
        assert [len(subject.runs) for subject in subjects] == [2, 1]

    def test_equal_weights_of_another_source_under_one_name(self, made, tmp_path):
        for name, source in (("zero", "a"), ("one", "b"), ("larger", "a"), ("fewer", None)):
            shutil.copytree(made / name, tmp_path / name)
            about = read_json(tmp_path / name / "run.json")
            about["settings"]["model_source"] = source
            write_json(tmp_path / name / "run.json", about)
        subjects = read_subjects(sorted(tmp_path.iterdir()))
        assert [len(subject.runs) for subject in subjects] == [
            3,
            1,
        ]  # no source known: with the first

    def test_the_strongest_attack_is_one_attack_on_the_images_that_all_met(self, made):
        (subject,) = read_subjects([made / "zero", made / "fgsm", made / "larger"])
        (classifier,) = subject.classifiers
        rows = classifier.at_sizes
        rows = rows[rows["index"] < 7]
        worst = metrics.worst_case(rows).set_index("eps")["robust_accuracy"]
        for line in strongest_attacks(classifier):
            mine = rows[(rows["attack"] == line.attack) & (rows["eps"] == line.eps)]
            assert line.n == len(mine) == 7
            assert line.robust_accuracy == (~mine["fooled"]).mean()
            assert line.worst_case == worst[line.eps] <= line.robust_accuracy
        assert metrics.worst_case(classifier.at_sizes)["n"].eq(7).all()

    def test_the_page_says_all_of_it(self, made, tmp_path):
        runs = [made / name for name in ("zero", "one", "transfer", "fgsm", "quantised")]
        html = build(runs, tmp_path / "report").read_text()
        for words in ("seed 1", "crafted on other", "binarised at 0.5", "that every attack met"):
            assert words in html
        assert "strongest attack (ceiling)" not in html

    def test_other_images_are_refused(self, made, tmp_path):
        x = images(12, seed=1)
        data, base = Data.of(x, small_network()(x).argmax(dim=1)), "net"
        attack = [("pgd", PGD(Linf(0.1), steps=3))]
        evaluate_data(small_network(), data, attack, EvaluationConfig(), base, tmp_path / "run")
        with pytest.raises(InputError, match="about different images of tensors"):
            read_subjects([made / "zero", tmp_path / "run"])
        with pytest.raises(InputError, match="about different images of tensors"):
            read_subjects([made / "fewer", tmp_path / "run"])


def test_an_attack_with_and_without_a_limit_has_one_row_for_an_image(tmp_path):
    x, model = images(6), small_network()
    attacks = {"a": FGSM(L2(0.5)), "b": FMN(L2(0.5), steps=5)}
    named = [*attacks.items(), ("b", FMN(L2(torch.inf), steps=5))]
    data = Data.of(x, model(x).argmax(dim=1))
    base = "net"
    evaluate_data(model, data, named, EvaluationConfig(), base, tmp_path / "run")
    (subject,) = read_subjects([tmp_path / "run"])
    assert metrics.cells(subject.classifiers[0].at_sizes)["n"].tolist() == [6, 6]


@pytest.fixture(scope="module")
def without_limit(tmp_path_factory):
    """A network, and the same one half as sensitive, under an attack without a limit."""
    root = tmp_path_factory.mktemp("without-limit")
    x = images(9, (1, 4, 4))
    model = small_network((1, 4, 4))
    y = model(x).argmax(dim=1)
    for name, scale in (("weak", 1.0), ("strong", 0.5)):
        network = nn.Sequential(Towards(scale), model).eval()
        attacks = [("fmn", FMN(L2(math.inf), steps=20)), ("pgd", PGD(L2(0.1), steps=3))]
        evaluate_data(
            network, Data.of(x, y), attacks, EvaluationConfig(), f"nets/{name}", root / name
        )
    return root


class Towards(nn.Module):
    """Mixes images with grey."""

    def __init__(self, fraction):
        super().__init__()
        self.fraction = fraction

    def forward(self, x):
        return 0.5 + self.fraction * (x - 0.5)


def test_how_far_images_had_to_be_moved(without_limit, tmp_path):
    runs = [without_limit / name for name in ("weak", "strong")]
    page = page_of(build(runs, tmp_path / "out"))
    table = read_table(tmp_path / "out" / "tables" / "perturbations.csv")
    assert set(zip(table["network"], table["attack"], strict=True)) == {
        (network, attack) for network in ("weak", "strong") for attack in ("fmn", "pgd")
    }
    fmn = table[table["attack"] == "fmn"].set_index("network")
    # Both are read at one size, at which the one that holds out longest has lost half.
    assert fmn["eps_ref"].nunique() == 1
    alone = [metrics.perturbation_sizes(read_table(run / "rows.csv")) for run in runs]
    assert fmn["eps_ref"].iloc[0] == max(each["eps_ref"][0] for each in alone)
    for network, run in zip(("weak", "strong"), runs, strict=True):
        rows = read_table(run / "rows.csv").query("attack == 'fmn'")
        x = images(9, (1, 4, 4)).double().flatten(1)
        expected = (rows["l2"].to_numpy() / x.norm(dim=1).numpy()).mean()
        assert fmn.loc[network, "rho_2"] == pytest.approx(expected, rel=1e-12)
        assert f"{expected:.4g}" in page.text
    assert "pgd, ℓ2" not in page.text  # only attacks without a limit


@pytest.mark.filterwarnings("ignore")
def test_attacks_without_a_limit_are_read_at_the_sizes_of_every_model(tmp_path):
    """Two boundaries, at some 0.03 and 1: no round size of one was a round size of the other."""
    x, y = images(8, (1, 1, 2)), torch.zeros(8, dtype=torch.int64)
    near, far = x[:, 0, 0, 0] * 0.05, x[:, 0, 0, 1]
    x = torch.stack([0.5 - near, far / 2], dim=1)[:, None, None]
    for name, attack, pixel, at in (
        ("weak", FMN(L2(math.inf), steps=40), 0, 0.5),
        ("strong", FMN(L2(math.inf), steps=40), 1, 0.9),
        ("limited", FGSM(L2(0.7)), 1, 0.9),
    ):
        model = two_class(torch.eye(2)[pixel], at)
        evaluate(model, x, y, {"attack": attack}, name=name, out=tmp_path / name)
    subjects = read_subjects([tmp_path / name for name in ("weak", "strong", "limited")])
    weak, strong, limited = (subject.classifiers[0].worst for subject in subjects)
    assert list(weak["eps"]) == list(strong["eps"])
    assert {0.7, *limited["eps"]} < set(weak["eps"])
    assert weak["robust_accuracy"].iloc[-1] == 0
    assert (strong.loc[strong["eps"] < 0.05, "robust_accuracy"] == 1).all()
    first = headline(subjects, [strongest_attacks(subject.classifiers[0]) for subject in subjects])
    assert all(row.robust is not None for row in first.rows if row.classifier.network != "limited")
    (alone,) = read_subjects([tmp_path / "strong"])
    assert len(alone.classifiers[0].worst) < len(strong)


def test_folders_without_the_norms_of_images_are_read(without_limit, tmp_path):
    run = shutil.copytree(without_limit / "weak", tmp_path / "weak")
    read_table(run / "rows.csv").drop(columns=["x_l2", "x_linf"]).to_csv(
        run / "rows.csv", index=False
    )
    about = read_json(run / "run.json")
    del about["rows_sha256"]
    write_json(run / "run.json", about)
    build([run], tmp_path / "out")
    table = read_table(tmp_path / "out" / "tables" / "perturbations.csv")
    assert table["rho_2"].isna().all()
    assert table["mean_l2"].notna().all()


@pytest.mark.parametrize(("met", "certified"), [(5, 12), (12, 5)])
def test_the_gap_is_over_the_images_that_both_sides_have(tmp_path, met, certified):
    """One side is of 12 images, the other of 5: the first 5 alone are compared."""
    x, model = images(12), small_network()
    base, data = "net", Data.of(x, model(x).argmax(dim=1))
    some = {count: Data.of(data.x(torch.arange(count)), data.y[:count]) for count in (5, 12)}
    noisy, attacks = nn.Sequential(GaussianNoise(0.1), model), [("fgsm", FGSM(L2(0.1)))]
    few = EvaluationConfig(votes=20, samples=2)
    evaluate_data(noisy, some[met], attacks, few, base, tmp_path / "attack")
    certify_data(model, some[certified], CertificationConfig(sigma=0.1), base, tmp_path / "proof")
    radius = lambda rows: (rows["index"] < 3) * 1.0  # noqa: E731
    _rewrite(tmp_path / "proof", lambda rows: rows.assign(prediction=rows["label"], radius=radius))
    fooled = lambda rows: rows["index"] >= 5  # noqa: E731
    _rewrite(tmp_path / "attack", lambda rows: rows.assign(prediction=0, fooled=fooled))
    subjects = read_subjects([tmp_path / "attack", tmp_path / "proof"])
    ((cell,),) = (line.cells for line in summary(subjects, "l2").lines)
    assert (cell.shown["n"], cell.proven["n"], cell.gap.n) == (met, certified, 5)
    assert (cell.shown["robust_accuracy"], cell.proven["robust_accuracy"]) == (
        5 / met,
        3 / certified,
    )
    assert cell.gap.fraction == pytest.approx(2 / 5)
    html = build([tmp_path / "attack", tmp_path / "proof"], tmp_path / "report").read_text()
    assert "40.0 pts<small>5 images</small>" in html


def test_a_certificate_in_another_norm_is_shown_in_its_own(runs, tmp_path):
    """Over so many pixels an ℓ2 certificate says nothing in ℓ∞: that is not proven 0 %."""
    subjects = read_subjects([runs["one-linf"], runs["one-cert"]])
    assert tables.norms_of(subjects) == ["linf", "l2"]
    cells = [cell for line in summary(subjects, "linf").lines for cell in line.cells]
    assert [cell.proven for cell in cells if cell.implied_by is None] == [None] * len(cells)
    own = summary(subjects, "l2")
    (line,) = (line for line in own.lines if line.classifier.proof)
    assert own.sizes
    assert line.cells[0].proven["robust_accuracy"] > 0
    assert all(cell.implied_by is None for cell in line.cells)
    html = build([runs["one-linf"], runs["one-cert"]], tmp_path / "report").read_text()
    assert (
        "ℓ2 ≤"
        in re.search(r'data-label="Certified accuracy" class="certified"[^>]*><b>(.*?)</td>', html)[
            1
        ]
    )


def _audited(run, copy, audit):
    """A copy of a run, with another audit or none."""
    shutil.copytree(run, copy)
    about = {key: value for key, value in read_json(copy / "run.json").items() if key != "audit"}
    write_json(copy / "run.json", {**about, **({} if audit is None else {"audit": audit})})
    return copy


def test_the_first_line_says_whether_to_believe_the_certificates(runs, tmp_path):
    checks = read_json(runs["one-cert"] / "run.json")["audit"]["checks"]
    (seed,) = (check for check in checks if check["id"] == "S-seed")
    seed |= {"verdict": "fail", "said": "9 of 400 votes are others now.", "value": 0.02}
    found = {
        "verdict": "not believable",
        "sentence": "not believable: 9 of 400 votes are others now (S-seed).",
        "about": "gaussian noise of 0.1",
        "passes": 400,
        "limit": None,
        "checks": checks,
    }
    wrong = _audited(runs["one-cert"], tmp_path / "wrong", found)
    html = build([runs["one-linf"], wrong], tmp_path / "report").read_text()
    (first,) = re.findall(r'<p class="belief not-believable">(.*?) <a href="#audit">', html)
    assert first == (
        "<b>Not believable.</b> Certified accuracy of one, smoothed with σ = 0.1 "
        f"({wrong}): 9 of 400 votes are others now (S-seed)."
    )
    section = html[html.index('<h2 id="audit">') : html.index('<h2 id="method">')]
    assert "one, robust accuracy: <span" in section
    mine = section[section.index("one, smoothed with σ = 0.1, certified accuracy: <span") :]
    assert mine.index("The seed gives the votes") < mine.index("<small>S-radius</small>")
    assert seed["why"] in mine
    assert seed["then"] in mine


def test_certificates_of_earlier_versions_are_not_audited(runs, tmp_path):
    old = _audited(runs["one-cert"], tmp_path / "old", None)
    for given in ([old], [old, runs["one-linf"]]):
        html = build(given, tmp_path / f"report-{len(given)}").read_text()
        assert '<p class="belief not-audited"><b>Not audited.</b> Nobody checked the cert' in html
    assert "None of the runs holds an audit." in build([old], tmp_path / "report-1").read_text()


def test_what_a_certificate_implies_in_another_norm_is_said_to_be_implied(runs, tmp_path):
    shutil.copytree(runs["one-cert"], tmp_path / "cert")
    _rewrite(tmp_path / "cert", lambda rows: rows.assign(prediction=rows["label"], radius=9.0))
    subjects = read_subjects([runs["one-linf"], tmp_path / "cert"])
    (line,) = (line for line in summary(subjects, "linf").lines if line.classifier.proof)
    assert [(cell.proven["robust_accuracy"], cell.implied_by) for cell in line.cells] == [
        (1.0, "l2")
    ] * 2


def test_models_on_other_images_and_runs_of_other_versions_are_told_of(runs, tmp_path):
    shutil.copytree(runs["one-linf"], tmp_path / "same")
    about = read_json(tmp_path / "same" / "run.json")
    about["settings"] |= {"model": "nets/three", "model_fingerprint": "0"}
    write_json(tmp_path / "same" / "run.json", about)
    same = read_subjects([runs["one-linf"], tmp_path / "same"])
    assert (len(same), mixed(same)) == (2, [])
    x, model = images(5, (3, 6, 6)), small_network((3, 6, 6), seed=1)
    few, fgsm = Data.of(x, model(x).argmax(dim=1)), [("fgsm", FGSM(Linf(0.02)))]
    evaluate_data(model, few, fgsm, EvaluationConfig(), "nets/two", tmp_path / "few")
    (note,) = mixed(read_subjects([runs["one-linf"], tmp_path / "few"]))
    assert "different images" in note
    assert "one: 12; two: 5" in note
    for name in ("old", "new"):
        shutil.copytree(runs["one-linf"], tmp_path / name)
    about = read_json(tmp_path / "old" / "run.json")
    about["versions"]["holdfast"] = "0.1.0"
    write_json(tmp_path / "old" / "run.json", about)
    subjects = read_subjects([tmp_path / "old", tmp_path / "new"])
    (note,) = mixed(subjects)
    assert f"0.1.0: {tmp_path / 'old'}" in note
    names = set(subjects[0].classifiers[0].attacked["attack"])
    assert names == {
        f"{attack} (holdfast {version})"
        for attack in ("fgsm", "pgd")
        for version in ("0.1.0", holdfast.__version__)
    }


NAMES = ("$0_to_$1", "</svg><b>&amp;", "_hidden", "#14171a", r"$\frac{$", "[/red]")


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_text(name):
    pixels = np.zeros((4, 4), dtype=np.float32)
    example = Example(pixels, pixels, pixels, name, name, 0.1, 1.0)
    table = pd.DataFrame({"attack": name, "eps": [0.0, 1.0], "robust_accuracy": 0.5})
    table = table.assign(low=0.4, high=0.6)
    for figure, times in (
        (pictures.gallery(Gallery("pgd", "linf", 0.1, [example])), 2),
        (figures.accuracy_by_attack("linf", table), 1),
    ):
        page = Page()
        svg = style.standalone_svg(figure)
        page.feed(svg[svg.index("<svg") :])
        assert sum(name in text for text in page.text) == times
        figure.savefig(io.BytesIO(), format="pdf")


def test_a_table_in_the_terminal_shows_text(capsys):
    print_table("[/red] of [bold]", [{"[x]": "[/red]", "n": 1}])
    out = capsys.readouterr().out
    assert out.count("[/red]") == 2
    assert "[bold]" in out
    assert "[x]" in out


WRONG = (None, "x", -1, 10**400, 1.5, True, [], {}, [None], math.nan, "\ud800")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The smallest runs of both kinds."""
    root, model, x = tmp_path_factory.mktemp("plain"), small_network(), images(3)
    data, base = Data.of(x, model(x).argmax(dim=1)), "net"
    worst = Worst((FGSM(Linf(0.3)), PGD(Linf(0.3), steps=2)))
    evaluate_data(model, data, [("worst", worst)], EvaluationConfig(), base, root / "evaluate")
    certify_data(model, data, CertificationConfig(sigma=0.1, votes=50), base, root / "certify")
    return root


@pytest.mark.parametrize("kind", ["evaluate", "certify"])
class TestDamagedRuns:
    """Each is one sentence, and before anything is written; or the report does not need it."""

    def attempt(self, folder, must=False):
        with pytest.raises(HoldfastError) if must else contextlib.suppress(HoldfastError):
            read_subjects([folder])

    def copy(self, plain, kind, tmp_path, about, rows=None):
        if not (tmp_path / "rows.csv").exists():
            shutil.copytree(plain / kind, tmp_path, dirs_exist_ok=True)
        (tmp_path / "run.json").write_text(json.dumps(about))
        if rows is not None:
            rows.to_csv(tmp_path / "rows.csv", index=False)

    def test_run_json(self, plain, kind, tmp_path):
        about = read_json(plain / kind / "run.json")
        settings, cell = about["settings"], about["cells"][0]
        needed = {"kind", "complete", "settings", "cells", "classes"}
        needed_settings = {"model", "model_fingerprint", "data", "images", "shape", "sigma"}
        for place, keys in ((about, needed), (settings, needed_settings), (cell, set())):
            for key in list(place):
                before = place.pop(key)
                self.copy(plain, kind, tmp_path, about)
                self.attempt(tmp_path, must=key in keys)
                for value in WRONG:
                    place[key] = value
                    self.copy(plain, kind, tmp_path, about)
                    self.attempt(tmp_path)
                place[key] = before
        for text in ("[]", "null", "", "{", "{}", "[" * 100_000, '"x"'):
            (tmp_path / "run.json").write_text(text)
            self.attempt(tmp_path, must=True)

    def test_rows(self, plain, kind, tmp_path):
        about = read_json(plain / kind / "run.json")
        del about["rows_sha256"]
        rows = read_table(plain / kind / "rows.csv")
        spare = {"l0", "loss", "votes", "by", "draws", "abstained", "p1", "p2"}
        spare |= {"scores", "choice"}
        for name in rows:
            must, old = name not in spare, name in ("x_l2", "x_linf", "rank", "ahead", "far")
            self.copy(plain, kind, tmp_path, about, rows.drop(columns=name))
            self.attempt(tmp_path, must and not old and name not in ("bound", "interval"))
            for value in (None, "", -2, 1.5, 10**400):
                one = rows.astype({name: object})
                one.loc[1, name] = value
                self.copy(plain, kind, tmp_path, about, one)
                self.attempt(tmp_path, must and value is None)
        for wrong in (rows[:0], rows[:-1], pd.concat([rows, rows])):
            self.copy(plain, kind, tmp_path, about, wrong)
            self.attempt(tmp_path, must=True)
        for content in (b"", b"\0", b"a,b\n1", b"\xff"):
            (tmp_path / "rows.csv").write_bytes(content)
            self.attempt(tmp_path, must=True)


def test_nothing_is_written_for_a_damaged_run(plain, tmp_path):
    shutil.copytree(plain / "evaluate", tmp_path / "run")
    (tmp_path / "run" / "rows.csv").write_bytes(b"")
    with pytest.raises(DamagedFileError, match=r"rows\.csv"):
        build([tmp_path / "run"], tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "folder", "shape", "values"])
def test_files_of_images_that_cannot_be_read_are_named_and_the_others_shown(
    plain, tmp_path, damage
):
    run = tmp_path / "run"
    shutil.copytree(plain / "evaluate", run)
    whole = build([run], tmp_path / "whole")
    assert len(list((tmp_path / "whole" / "images").iterdir())) > 0
    (kept,) = (run / "images").iterdir()
    shutil.copy(kept, kept.with_name("0001.00001.safetensors"))  # of which images are shown
    content = kept.read_bytes()
    tensors, about = read_tensors(kept)
    if damage == "folder":
        kept.unlink()
        kept.mkdir()
    elif damage == "shape":
        write_tensors(kept, {**tensors, "x": tensors["x"][:, :, :2]}, about)
    elif damage == "values":
        write_tensors(kept, {**tensors, "x_adv": tensors["x_adv"] + 2}, about)
    else:
        bad = {"cut": content[: len(content) // 2], "empty": b"", "noise": b"\xa5" * len(content)}
        kept.write_bytes(bad[damage])
    page = build([run], tmp_path / "report")
    assert f"cannot be read {kept.name}, which are damaged" in page.read_text()
    assert "cannot be read" not in whole.read_text()
    pictures = [
        {file.name: file.read_bytes() for file in (tmp_path / name / "images").iterdir()}
        for name in ("whole", "report")
    ]
    assert pictures[0] == pictures[1]
    with pytest.raises((DamagedFileError, MissingFileError), match=kept.name):
        gallery_of(run, "worst", 0.3)


def test_files_of_images_that_are_missing_are_named(plain, tmp_path):
    shutil.copytree(plain / "evaluate", tmp_path / "run")
    assert "not shown" not in build([tmp_path / "run"], tmp_path / "whole").read_text()
    x = images(3)
    attacks = [(name, FGSM(Linf(0.1))) for name in ("one", "two")]
    config = EvaluationConfig(batch_size=2)
    data = Data.of(x, small_network()(x).argmax(dim=1))
    evaluate_data(small_network(), data, attacks, config, "net", tmp_path / "two")
    (tmp_path / "two" / "images" / "0002.00001.safetensors").unlink()
    page = build([tmp_path / "two"], tmp_path / "some").read_text()
    assert "are missing 0002.00001.safetensors: the images in them are not shown." in page
    shutil.rmtree(tmp_path / "two" / "images")
    page = build([tmp_path / "two"], tmp_path / "none").read_text()
    assert "images is missing, so that none of its images is shown." in page


def test_what_the_search_for_what_hides_took_stands_among_the_costs(plain, tmp_path):
    shutil.copytree(plain / "evaluate", tmp_path / "run")
    about = read_json(tmp_path / "run" / "run.json")
    assert about["costs"]["search"]["forwards"] > 100
    about["costs"]["search"] = {"forwards": 12_345, "backwards": 678}
    write_json(tmp_path / "run" / "run.json", about)
    page = build([tmp_path / "run"], tmp_path / "report").read_text()
    (line,) = re.findall("<tr>[^\n]*search for what the model hides.*", page)
    assert "12,345" in line
    assert "678" in line
    write_json(tmp_path / "run" / "run.json", {**about, "costs": {"search": {"forwards": 1}}})
    with pytest.raises(DamagedFileError, match="costs"):
        build([tmp_path / "run"], tmp_path / "other")


def test_every_number_of_the_page_comes_from_the_rows(plain, tmp_path):
    """Not from the cells of run.json, which only say which cells there are."""
    first = build([plain / "evaluate", plain / "certify"], tmp_path / "first").read_text()
    for kind in ("evaluate", "certify"):
        shutil.copytree(plain / kind, tmp_path / kind)
        about = read_json(plain / kind / "run.json")
        for cell in about["cells"]:
            changed = {"clean_accuracy", "robust_accuracy", "low", "high", "accuracy", "abstained"}
            cell |= dict.fromkeys(changed & cell.keys(), 0.123)
            cell |= {key: [[0, 0.5]] for key in {"curve"} & cell.keys()}
            if "broken_by" in cell:
                cell["broken_by"] = dict.fromkeys(cell["broken_by"], 77)
        write_json(tmp_path / kind / "run.json", about)
    runs = [tmp_path / "evaluate", tmp_path / "certify"]
    again = build(runs, tmp_path / "again").read_text()
    shown = [html.replace(str(tmp_path), str(plain)).split(RECORDS)[0] for html in (first, again)]
    assert shown[0] == shown[1]
    for table in (tmp_path / "first" / "tables").iterdir():
        assert table.read_bytes() == (tmp_path / "again" / "tables" / table.name).read_bytes()


def test_certificates_of_runs_whose_cells_do_not_say_what_they_are_good_for(plain, tmp_path):
    shutil.copytree(plain / "certify", tmp_path / "run")
    about = read_json(plain / "certify" / "run.json")
    del about["rows_sha256"]
    (cell,) = about["cells"]
    rows = read_table(plain / "certify" / "rows.csv")
    for names, limits in (
        ({"interval": "hoeffding"}, (True, False)),
        ({"interval": "sison-glaz"}, (False, True)),
        ({"interval": "new"}, None),
        ({"interval": "new", "guaranteed": False, "of_votes": False}, (False, False)),
    ):
        bare = {key: cell[key] for key in cell.keys() - {"guaranteed", "of_votes"}}
        write_json(tmp_path / "run" / "run.json", {**about, "cells": [bare | names]})
        rows.assign(interval=names["interval"]).to_csv(tmp_path / "run" / "rows.csv", index=False)
        if limits is None:
            with pytest.raises(DamagedFileError, match="cohen new is in no cell"):
                read_subjects([tmp_path / "run"])
            continue
        (subject,) = read_subjects([tmp_path / "run"])
        (run,) = subject.classifiers[-1].certifications
        assert (run.guaranteed, run.of_votes) == limits


def test_the_page_says_once_what_a_run_warned_of(tmp_path):
    x, network = images(12), small_network()
    masked = Wrapped(lambda x: network((4 * x).round() / 4).softmax(dim=1))
    data, pgd = Data.of(x, masked(x).argmax(dim=1)), PGD(Linf(0.1), steps=2, random_start=False)
    runs = [tmp_path / "zero", tmp_path / "one"]
    for seed, run in enumerate(runs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = EvaluationConfig(seed=seed, hidden=False)
            evaluate_data(masked, data, [("pgd", pgd)], config, out=run)
        about = read_json(run / "run.json")
        assert [note[:8] for note in about["warnings"]] == ["the mode", "pgd linf"]
        about["warnings"].append(f"<script>alert({seed})</script>")
        write_json(run / "run.json", about)
    html = build(runs, tmp_path / "report").read_text()
    page = " ".join(page_of(tmp_path / "report" / "report.html").text).split("Settings")[0]
    for seed, run in enumerate(runs):
        assert page.count(f"pgd (seed {seed}) linf 0.1: for 12 of 12 images the gradient") == 1
        assert page.count(f"{run}: the model's outputs look like probabilities") == 1
        assert page.count(f"{run}: <script>alert({seed})</script>") == 1
    assert "pgd linf" not in page
    assert "<script>alert" not in html


def test_an_attack_that_was_skipped_is_shown(tmp_path):
    x = images(4)
    network = nn.Sequential(Wrapped(lambda x: x.detach()), small_network()).eval()
    attacks = [("pgd", PGD(Linf(0.1), steps=2)), ("square", Square(Linf(0.1), queries=3))]
    data = Data.of(x, network(x).argmax(dim=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = EvaluationConfig(hidden=False)
        found = evaluate_data(network, data, attacks, config, out=tmp_path / "run")
    assert found.cells[0]["robust_accuracy"] is None
    html = build([tmp_path / "run"], tmp_path / "report").read_text()
    assert "cut off at every step" in html
    assert "pgd linf 0.1: skipped pgd: no gradient reaches" in html.split(RECORDS)[0]


def test_the_first_screen_is_of_the_size_that_most_models_met_and_of_the_attacks_within_it(
    tmp_path,
):
    x = images(12)
    for name, seed, attacks in (
        ("one", 0, [("pgd", PGD(Linf(0.05), steps=2)), ("fgsm", FGSM(Linf(0.3)))]),
        ("other", 1, [("pgd", PGD(Linf(0.05), steps=2))]),
    ):
        network = small_network(seed=seed)
        data = Data.of(x, small_network()(x).argmax(dim=1))
        evaluate_data(network, data, attacks, EvaluationConfig(), name, tmp_path / name)
    subjects = read_subjects([tmp_path / "one", tmp_path / "other"])
    strongest = [strongest_attacks(classifier) for classifier in tables.classifiers(subjects)]
    first = headline(subjects, strongest)
    assert first.eps == 0.05
    assert all(row.robust is not None for row in first.rows)
    assert "in the worst case over pgd (" in " ".join(first.words)


def test_a_table_of_latex_prints_what_it_says():
    r"""Not ¡, — and ¿ for <, | and >, and behind \\ no name is taken for a length."""
    text = to_latex(pd.DataFrame({"a|b": ["[x] <b>", "*"]}), "")
    assert r"a\textbar{}b" in text
    assert r"{[}x] \textless{}b\textgreater{}" in text
    assert "\n{*} " in text
