"""Top-5 accuracy of data of many classes: what is left of it under an attack on the top class."""

import json
import warnings
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast import EvaluationConfig, Linf, evaluate, metrics, reproduce
from holdfast.attacks import PGD, DeepFool, StepLL
from holdfast.bundle import Verdict, verify, write_bundle
from holdfast.cli.evaluated import show_evaluation, show_study
from holdfast.cli.main import run
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.evaluation import Comparison, compare, evaluate_data, study
from holdfast.files import read_table
from holdfast.report.page import build
from holdfast.report.subjects import read_subjects
from holdfast.report.tables import strongest_attacks
from holdfast.results import CLEAN, read_rows
from holdfast.results.reading import digest_of
from holdfast.statistics import proportion_interval
from tests.toys import images, small_network

N, CLASSES = 40, 24
ATTACKS = {
    "few-steps": PGD(Linf(0.02), steps=1),
    "far": PGD(Linf(0.3), steps=10, early_stop=False),  # goes on behind the second class
}
#: Nothing is asked of the model but what is counted.
PLAIN = EvaluationConfig(hidden=False, audit=0.0)


def labelled(model, classes):
    """Labels of all ranks: the model's first answer, its second, and so on, in turn."""
    x = images(N)
    with torch.no_grad():
        order = model(x).argsort(dim=1, descending=True)
    y = order[torch.arange(N), torch.arange(N) % 8]
    y[::2] = order[::2, 0]
    names = tuple(str(k) for k in range(classes))
    return x, y, names


def evaluated(out=None, classes=CLASSES, model=None, config=PLAIN, attacks=ATTACKS):
    network = small_network(classes=classes)
    x, y, names = labelled(network, classes)
    data = Data.in_memory("toy", names, x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evaluate_data(
            model or network, data, list(attacks.items()), config, name="model", out=out
        )


@pytest.fixture(scope="module")
def found():
    return evaluated()


def test_it_is_what_counting_by_hand_gives(found):
    clean = found.rows[found.rows["attack"] == CLEAN].set_index("index")
    assert set(clean["rank"]) >= {0, 1, 3, 5, 7}
    for cell in found.cells:
        rows = found.rows[found.rows["attack"] == cell["attack"]].set_index("index")
        left = ((clean["rank"] < 5) & (rows["rank"] < 5)).sum()
        assert cell["clean_top5"] == (clean["rank"] < 5).mean()
        assert cell["robust_top5"] == left / N
        limits = proportion_interval(int(left), N)
        assert (cell["top5_low"], cell["top5_high"]) == tuple(map(float, limits))
    assert cell["robust_accuracy"] < cell["robust_top5"] < cell["clean_top5"] < 1


def test_recipes_count_it_as_evaluations_do_and_as_eat_does(tmp_path):
    attacks = {**ATTACKS, "toward-another": StepLL(Linf(0.1))}
    step = reproduce.evaluate("e", model="toy", attacks=list(attacks))
    config = replace(PLAIN, attack_all=True)
    found = evaluated(tmp_path / step.folder, config=config, attacks=attacks)
    clean = found.rows[found.rows["attack"] == CLEAN].set_index("index")["rank"]
    righted = 0
    for cell in found.cells:
        after = found.rows[found.rows["attack"] == cell["attack"]].set_index("index")["rank"]
        ours = reproduce.robust_error(step, cell["attack"], top=5).read(tmp_path)
        assert ours.value == pytest.approx(1 - cell["robust_top5"])
        assert ours[1:3] == pytest.approx((1 - cell["top5_high"], 1 - cell["top5_low"]))
        theirs = reproduce.error(step, cell["attack"], top=5).read(tmp_path)
        assert theirs.value == (after >= 5).mean()
        righted += ((clean >= 5) & (after < 5)).sum()
        whole = reproduce.robust_error(step, cell["attack"]).read(tmp_path)
        assert whole.value == pytest.approx(1 - cell["robust_accuracy"])
    assert righted  # what was wrong may be right among five afterwards


def test_what_the_model_ranks_is_what_the_rows_count(found):
    """An image that is wrong at the top is not attacked, and keeps its place among five."""
    model = small_network(classes=CLASSES)
    x, y, _ = labelled(model, CLASSES)
    with torch.no_grad():
        among = (model(x).topk(5).indices == y[:, None]).any(dim=1)
        wrong = model(x).argmax(dim=1) != y
    assert found.cells[0]["clean_top5"] == among.float().mean().item()
    assert all(cell["robust_top5"] * N >= (among & wrong).sum() for cell in found.cells)


@pytest.mark.parametrize("attack_all", [False, True])
@pytest.mark.parametrize("sigma", [None, 0.3])
def test_it_is_at_least_top_1_and_at_most_what_it_was(attack_all, sigma):
    network = small_network(classes=CLASSES)
    model = network if sigma is None else nn.Sequential(GaussianNoise(sigma), network).eval()
    config = replace(PLAIN, votes=9, samples=1, attack_all=attack_all)
    cells = evaluated(model=model, config=config, attacks={"far": ATTACKS["far"]}).cells
    for cell in cells:
        assert cell["robust_accuracy"] <= cell["robust_top5"] <= cell["clean_top5"]
        assert cell["clean_accuracy"] <= cell["clean_top5"]
        assert cell["top5_low"] <= cell["robust_top5"] <= cell["top5_high"]


@given(st.integers(0, 2**32 - 1))
def test_whatever_the_votes_it_is_between_top_1_and_what_it_was(seed):
    """Level votes give ranks that a prediction knows nothing of."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "label": 0,
            "clean_prediction": rng.integers(0, 2, 6),
            "fooled": rng.random(6) < 0.5,
            "linf": rng.integers(0, 2, 6) * 0.1,
            "rank": rng.integers(0, 8, 6),
            "clean_rank": rng.integers(0, 8, 6),
        }
    )
    right = rows["clean_prediction"] == 0
    rows["fooled"] |= ~right
    cell = metrics.top5(rows)
    assert (~rows["fooled"]).mean() <= cell["robust_top5"] <= cell["clean_top5"]
    assert right.mean() <= cell["clean_top5"]


@pytest.mark.parametrize(
    ("clean_prediction", "fooled", "linf", "clean_rank", "rank", "left"),
    [
        (0, True, 0.1, 0, 4, True),
        (0, True, 0.1, 0, 5, False),
        (1, True, 0.0, 4, 7, True),  # left alone: fresh noise does not count
        (1, True, 0.1, 4, 7, False),  # attacked though it was wrong
        (1, True, 0.1, 5, 0, False),  # no attack makes it right
        (0, False, 0.1, 7, 7, True),  # right at the top, by votes that are level
    ],
)
def test_what_becomes_of_one_image(clean_prediction, fooled, linf, clean_rank, rank, left):
    row = {"label": 0, "clean_prediction": clean_prediction, "fooled": fooled, "linf": linf}
    rows = pd.DataFrame({**row, "clean_rank": clean_rank, "rank": rank}, index=[0])
    assert metrics.top5(rows)["robust_top5"] == left


def test_an_attack_without_a_limit_is_read_at_sizes(tmp_path):
    """Where what was found for an image does not fit, the image is as it was."""
    attacks = {"deepfool": DeepFool(Linf(float("inf"))), "pgd": PGD(Linf(1e-6), steps=1)}
    evaluated(tmp_path / "run", attacks=attacks)
    (subject,) = read_subjects([tmp_path / "run"])
    cells = subject.classifiers[0].cells.set_index("attack")
    assert (cells["eps"] == 1e-6).all()
    assert cells.loc["deepfool", "robust_top5"] == cells.loc["deepfool", "clean_top5"]


def test_of_ten_classes_nothing_is_said(tmp_path, capsys):
    found = evaluated(tmp_path / "run", classes=10)
    assert not any("top5" in name for cell in found.cells for name in cell)
    assert "top" not in found.summary()
    show_evaluation(found, json=False)
    assert "top-5" not in capsys.readouterr().out
    page = build([tmp_path / "run"], tmp_path / "report", "of ten").read_text()
    assert "Top 5" not in page


def test_an_attack_that_could_not_run_leaves_nothing_known():
    rows = evaluated(attacks={"pgd": PGD(Linf(0.0), steps=1)}).rows
    rows.loc[rows["attack"] == "pgd", "blind"] = True
    ranked = metrics.ranked(rows, CLASSES)
    (cell,) = metrics.evaluation_cells(ranked, [()], [{"pgd": "no gradient"}])
    assert [cell[name] for name in metrics.TOP5] == [None, None, None]
    assert cell["clean_top5"] is not None


def test_it_is_printed(found, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    show_evaluation(found, json=False)
    printed = capsys.readouterr().out
    assert "top-5" in printed
    assert "upper limit" in printed
    for cell in found.cells:
        assert f"{100 * cell['robust_top5']:.1f}" in printed
        assert f"{100 * cell['robust_top5']:.1f}" in found.summary()
    show_evaluation(found, json=True)
    assert json.loads(capsys.readouterr().out)["cells"] == found.cells


class TestOnDisk:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        evaluated("run")
        return tmp_path / "run"

    def test_the_report_says_what_the_run_says(self, run, tmp_path):
        cells = json.loads((run / "run.json").read_text())["cells"]
        page = build([run], tmp_path / "report", "of many classes").read_text()
        assert "Top 5" in page
        table = read_table(tmp_path / "report" / "tables" / "attacks.csv")
        for name in ("clean_top5", *metrics.TOP5):
            assert table[name].tolist() == [cell[name] for cell in cells]
        left = {cell["attack"]: cell["robust_top5"] for cell in cells}
        lines = strongest_attacks(read_subjects([run])[0].classifiers[0])
        assert {line.attack: line.top5 for line in lines} == left

    def test_a_bundle_verifies_and_one_that_was_edited_does_not(self, run, tmp_path):
        write_bundle(["run"], tmp_path / "run.zip")
        assert verify(tmp_path / "run.zip").contradictions == []
        edited(run, lambda cells: cells[1].update(robust_top5=cells[1]["robust_top5"] + 0.01))
        (wrong,) = verify(run).of(Verdict.CONTRADICTED)
        assert "cells[1].robust_top5 is" in wrong.said

    def test_cells_of_earlier_versions_are_read(self, run, tmp_path):
        def forget(cells):
            for cell in cells:
                for name in ("clean_top5", *metrics.TOP5):
                    del cell[name]

        edited(run, forget)
        assert verify(run).contradictions == []
        assert build([run], tmp_path / "report", "of an earlier version").exists()


#: Two of one size, the weaker one first.
SEVERAL = {"one-step": PGD(Linf(0.3), steps=1), **ATTACKS}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The runs of two models on the same images, and a study of both."""
    out = tmp_path_factory.mktemp("two")
    models = {name: small_network(classes=CLASSES, seed=seed) for seed, name in enumerate("ab")}
    x, y, names = labelled(models["a"], CLASSES)
    data = Data.in_memory("toy", names, x, y)
    attacks = list(SEVERAL.items())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in models.items():
            evaluate_data(model, data, attacks, PLAIN, name=name, out=out / name)
        return out, study(models, data, attacks, (0, 1), PLAIN)


class TestOfTwo:
    @staticmethod
    def left(rows):
        """Which images keep their label among five, attack by attack, counted by hand."""
        clean = rows[rows["attack"] == CLEAN].set_index("index")
        left = {CLEAN: clean["rank"] < 5}
        for attack, part in rows[rows["attack"] != CLEAN].groupby("attack"):
            left[attack] = left[CLEAN] & (part.set_index("index")["rank"] < 5)
        return left

    def test_a_comparison_says_what_became_of_it_under_each_attack_and_under_all(self, two):
        out, _ = two
        first, second = (self.left(read_rows(out / name)) for name in "ab")
        lines = compare(out / "a", out / "b").lines
        assert [line.what for line in lines] == [CLEAN, *SEVERAL, "worst case"]
        for line in lines:
            of = ["one-step", "far"] if line.what == "worst case" else [line.what]
            wanted = metrics.paired(
                *(np.logical_and.reduce([left[name] for name in of]) for left in (first, second))
            )
            assert line.top5 == wanted
            assert line.record()["top5"] == wanted.record()
        assert any(line.top5.first > line.found.first for line in lines)

    def test_it_is_printed_and_in_junit_and_fails_nothing(self, two, tmp_path, capsys):
        out, _ = two
        file = tmp_path / "compared.xml"
        runs = [str(out / name) for name in "ab"]
        assert run(["compare", *runs, "--junit", str(file)]) == 0
        printed = capsys.readouterr().out
        lines = compare(*runs).lines
        assert "top-5 accuracy" in printed
        cases = ElementTree.parse(file).getroot().findall("testcase")
        for case, line in zip(cases, lines, strict=True):
            shares = [f"{100 * share:.1f}" for share in (line.top5.first, line.top5.second)]
            said = case.find("system-out").text
            assert all(share in said and share in printed for share in shares)
            same = replace(line, found=metrics.paired(np.ones(9, bool), np.ones(9, bool)))
            assert same.top5 == line.top5
            assert not Comparison("a", "b", [same]).worse(0.0)

    def test_a_study_has_the_worst_case_over_attacks_and_seeds(self, two, capsys):
        _, found = two
        show_study(found, json=False)
        printed = capsys.readouterr().out
        for model, worst in found.worst.groupby("model"):
            rows = [one.rows for member, one in found.found.items() if member.model == model]
            for eps, share in zip(worst["eps"], worst["robust_top5"], strict=True):
                left = [
                    part
                    for of_seed in rows
                    for attack, part in self.left(of_seed).items()
                    if attack == CLEAN or SEVERAL[attack].threat.eps <= eps
                ]
                assert share == np.logical_and.reduce(left).mean()
                assert f"{100 * share:.1f}" in printed
                assert f"{100 * share:.1f}" in found.summary()
            assert (worst["robust_accuracy"] <= worst["robust_top5"]).all()
            assert (worst["top5_low"] <= worst["robust_top5"]).all()

    def test_of_ten_classes_they_say_nothing(self, tmp_path, capsys):
        for name in "ab":
            evaluated(tmp_path / name, classes=10)
        compared = compare(tmp_path / "a", tmp_path / "b")
        assert [line.top5 for line in compared.lines] == [None] * len(compared.lines)
        assert "top" not in compared.summary()
        assert run(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
        assert "top-5" not in capsys.readouterr().out


def edited(run, change):
    """Change the cells of a run by hand, and its digest as whoever wants to deceive does."""
    about = json.loads((run / "run.json").read_text())
    del about["sha256"]
    change(about["cells"])
    (run / "run.json").write_text(json.dumps({**about, "sha256": digest_of(about)}))


def test_tensors_of_many_classes_have_it_too():
    model = small_network(classes=CLASSES)
    x, y, _ = labelled(model, CLASSES)
    for labels, said in ((y.clamp(max=9), False), (y.clamp(max=10), True)):
        assert labels.max() == 9 + said
        cells = evaluate(model, x, labels, {"pgd": PGD(Linf(0.01), steps=1)}, config=PLAIN).cells
        assert ("robust_top5" in cells[0]) == said
