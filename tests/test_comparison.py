"""Two runs on the same images, and robustness as a test that passes or fails."""

import itertools
import json
import math
import os
import subprocess
import sys
import tomllib
import warnings
from math import comb
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from holdfast import L2, EvaluationConfig, Linf, evaluate
from holdfast.attacks import FGSM, FMN, PGD
from holdfast.cli.main import run
from holdfast.errors import HoldfastError, InputError, MissingFileError, WorseError
from holdfast.evaluation import compare
from holdfast.evaluation.comparison import _notes
from holdfast.goals import toward_least_likely
from holdfast.metrics import paired
from holdfast.results import read_rows
from holdfast.statistics import proportion_interval
from holdfast.testing import assert_robust
from tests.toys import images, small_network

N = 24


def code(*arguments):
    try:
        return run([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Evaluations of two networks under two attacks each, on the same images."""
    out = tmp_path_factory.mktemp("runs")
    x = images(N)
    models = {name: small_network(seed=seed) for seed, name in enumerate(("a", "b"))}
    y = models["a"](x).argmax(dim=1)
    y[::4] = models["b"](x).argmax(dim=1)[::4]
    attacks = {"fgsm": FGSM(Linf(0.02)), "pgd": PGD(Linf(0.02), steps=3)}
    for name, model in models.items():
        evaluate(model, x, y, attacks, out=out / name, name=name)
        evaluate(model, x, y, {"fmn": FMN(Linf(float("inf")), steps=5)}, out=out / f"{name}-fmn")
    evaluate(models["a"], x[:-1], y[:-1], attacks, out=out / "fewer")
    evaluate(models["a"], 1 - x, y, attacks, out=out / "others")
    slow = {
        f"slow-{n}": PGD(Linf(0.02), steps=n, step_size=4e-3, random_start=False) for n in (1, 2)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they break little
        evaluate(models["a"], x, y, slow, out=out / "a-slow")
        evaluate(models["b"], x, y, slow, out=out / "b-slow")
        evaluate(models["b"], x, y, {**slow, "pgd": attacks["pgd"]}, out=out / "b-more")
    evaluate(models["a"], x, y, {"other": FGSM(Linf(0.02))}, out=out / "other-attack")
    return out


class TestPaired:
    def test_the_interval_holds_with_its_confidence(self):
        """By exact sums over all outcomes of twelve images, for many true shares."""
        n, confidence = 12, 0.8
        covers = {}
        for lost, won in itertools.product(range(n + 1), repeat=2):
            if lost + won <= n:
                place = np.arange(n)
                first, second = place >= won, (place >= lost + won) | (place < won)
                found = paired(first, second, confidence)
                assert (found.only_first, found.only_second) == (lost, won)
                covers[lost, won] = (found.low, found.high)
        for p, q in itertools.product((0.01, 0.1, 0.3, 0.5), repeat=2):
            held = sum(
                comb(n, a) * comb(n - a, b) * p**a * q**b * max(1 - p - q, 0.0) ** (n - a - b)
                for (a, b), (low, high) in covers.items()
                if low <= q - p <= high
            )
            assert held >= confidence

    def test_pairs_tell_what_two_intervals_do_not(self):
        first, second = np.arange(200) < 100, np.arange(200) < 112
        found = paired(first, second)
        low, high = proportion_interval(np.array([100, 112]), np.array([200, 200]))
        assert high[0] > low[1]  # of the two accuracies: they overlap
        assert found.low > 0
        assert found.p_value < 0.001
        turned = paired(second, first)
        assert turned.low == pytest.approx(-found.high)
        assert turned.high == pytest.approx(-found.low)

    def test_agreement_on_few_images_proves_little(self):
        few, many = (paired(np.ones(n, bool), np.ones(n, bool)) for n in (10, 1000))
        assert few.high > 0.3
        assert 0 < many.high < 0.01
        with pytest.raises(InputError, match="same images"):
            paired(np.ones(3, bool), np.ones(4, bool))


class TestCompare:
    def test_each_line_is_the_rows_own_difference(self, folder):
        found = compare(folder / "a", folder / "b")
        titles = [line.title for line in found.lines]
        assert titles == ["clean", "fgsm linf 0.02", "pgd linf 0.02", "worst case linf 0.02"]
        right = {}
        for name in ("a", "b"):
            rows = read_rows(folder / name)
            by = {
                what: ~part.sort_values("index")["fooled"] for what, part in rows.groupby("attack")
            }
            by = {what: part.to_numpy() for what, part in by.items()}
            right[name] = [by["clean"], by["fgsm"], by["pgd"], by["fgsm"] & by["pgd"]]
        for line, one, other in zip(found.lines, right["a"], right["b"], strict=True):
            assert line.found.first == one.mean()
            assert line.found.second == other.mean()
            assert list(line.fell) == np.flatnonzero(one & ~other).tolist()
            assert list(line.held) == np.flatnonzero(other & ~one).tolist()
        assert found.lines[0].fell
        assert found.notes == []

    def test_the_worst_case_is_over_the_attacks_that_both_met(self, folder, capsys):
        """Or a model would look worse for having met one attack more."""
        alike, more = (compare(folder / "a-slow", folder / name) for name in ("b-slow", "b-more"))
        rows = read_rows(folder / "b-more")
        broken = set(rows.loc[rows["fooled"], ["attack", "index"]].itertuples(index=False))
        alone = {i for of, i in broken if of == "pgd"} - {i for of, i in broken if of != "pgd"}
        assert alone  # so that the attack that one run alone met would tell
        assert [line.record() for line in alike.lines] == [line.record() for line in more.lines]
        assert code("compare", folder / "a-slow", folder / "b-more") == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "b-more met pgd linf 0.02, which is compared with nothing" in said
        assert "worst case linf 0.02 is over the attacks that both met: slow-1, slow-2." in said

    def test_a_minimal_attack_is_compared_at_sizes(self, folder):
        found = compare(folder / "a-fmn", folder / "b-fmn")
        assert len(found.lines) > 3
        assert all(np.isfinite(line.eps) for line in found.lines)

    @pytest.mark.parametrize(
        ("other", "words"),
        [
            ("fewer", "not the same images"),
            ("others", "not the same images"),
            ("other-attack", "nothing in common"),
            ("nowhere", "holds no run"),
        ],
    )
    def test_what_cannot_be_compared_is_refused(self, folder, capsys, other, words):
        assert code("compare", folder / "a", folder / other) == 2
        assert words in " ".join(capsys.readouterr().err.split())

    def test_a_folder_of_runs_names_one(self, folder):
        with pytest.raises(MissingFileError, match=rf"{folder}/\S+ holds one"):
            compare(folder, folder / "a")

    def test_attacks_of_one_name_and_other_settings_are_told(self, folder, tmp_path):
        x = images(N)
        model = small_network(seed=0)
        y = model(x).argmax(dim=1)
        for name, steps in (("one", 2), ("two", 4)):
            config = EvaluationConfig(seed=steps)
            attack = {"pgd": PGD(Linf(0.02), steps=steps)}
            evaluate(model, x, y, attack, config=config, out=tmp_path / name)
        notes = compare(tmp_path / "one", tmp_path / "two").notes
        assert any("steps=2" in note and "steps=4" in note for note in notes)
        assert any("seeds, 2 and 4" in note for note in notes)

    def test_an_unfinished_run_is_refused(self, folder, tmp_path):
        (tmp_path / "cut").mkdir()
        about = json.loads((folder / "a" / "run.json").read_text())
        (tmp_path / "cut" / "run.json").write_text(json.dumps(about | {"complete": False}))
        with pytest.raises(InputError, match="not finished"):
            compare(folder / "a", tmp_path / "cut")

    def test_worse_counts_on_these_images_and_by_more_than_is_allowed(self, folder):
        found = compare(folder / "a", folder / "b")
        drop = max(-line.found.difference for line in found.lines)
        assert drop > 0
        assert not found.worse(drop)
        assert found.worse(drop - 0.5 / N)
        with pytest.raises(WorseError, match="percentage points"):
            found.check(0.0)
        compare(folder / "a", folder / "a").check(0.0)


class TestCommand:
    def test_the_exit_code_is_for_continuous_integration(self, folder, tmp_path, capsys):
        both = (folder / "a", folder / "b")
        assert code("compare", *both) == 0
        shown = capsys.readouterr().out
        assert "fgsm linf 0.02" in shown
        assert "difference" in shown
        assert code("compare", *both, "--fail-if-worse", "100", "--quiet") == 0
        assert code("compare", *both, "--fail-if-worse", "1", "--quiet", "--json") == 3
        captured = capsys.readouterr()
        assert len(json.loads(captured.out)["lines"]) == 4
        assert captured.err.count("\n") == 1
        assert code("compare", *both, "--fail-if-worse", "-1") == 2
        assert code("compare", both[0]) == 2
        assert "two are compared" in capsys.readouterr().err

    def test_junit_has_a_test_for_each_line(self, folder, tmp_path):
        path = tmp_path / "junit.xml"
        both = (folder / "a", folder / "b")
        for by in (0.0, 100.0):
            code("compare", *both, "--fail-if-worse", by, "--junit", path, "--quiet")
            suite = ElementTree.parse(path).getroot()
            worse = {line.title for line in compare(*both).worse(by / 100)}
            assert {case.get("name") for case in suite if len(case)} == worse
            assert suite.get("failures") == str(len(worse))
            assert suite.get("tests") == str(len(suite)) == "4"

    def test_the_folder_of_junit_is_made(self, folder, tmp_path, capsys):
        path = tmp_path / "new" / "ci" / "junit.xml"
        assert code("compare", folder / "a", folder / "b", "--junit", path) == 0
        assert ElementTree.parse(path).getroot().get("tests") == "4"
        assert "on the same" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "there", [b"{}", b"", b"<report/>", b"\xff\xfe", b'<?xml version="1.0" encoding="no"?><a/>']
    )
    def test_only_an_older_junit_file_is_replaced(
        self, folder, tmp_path, capsys, monkeypatch, there
    ):
        """Whatever else is there stays as it is, and nothing is compared."""
        both, path = (folder / "a", folder / "b"), tmp_path / "run.json"
        path.write_bytes(there)
        monkeypatch.setattr("holdfast.cli.compare.compare_runs", lambda *_: pytest.fail("compared"))
        assert code("compare", *both, "--junit", path) == 2
        assert "is there and no JUnit XML, and is not overwritten" in capsys.readouterr().err
        assert path.read_bytes() == there
        assert code("compare", *both, "--junit", tmp_path) == 2
        capsys.readouterr()
        assert code("compare", *both, "--junit", path / "new.xml") == 2
        assert "give another --junit" in capsys.readouterr().err

    def test_a_junit_file_of_another_tool_is_replaced(self, folder, tmp_path):
        path = tmp_path / "junit.xml"
        path.write_text("<testsuites><testsuite/></testsuites>")
        assert code("compare", folder / "a", folder / "b", "--junit", path, "--quiet") == 0
        assert ElementTree.parse(path).getroot().tag == "testsuite"


class TestAssertRobust:
    @pytest.fixture
    def given(self):
        model, x = small_network(seed=0), images(12)
        return model, x, model(x).argmax(dim=1)

    def test_it_says_how_much_how_sure_and_which_images(self, given):
        model, x, y = given
        attack = PGD(Linf(0.05), steps=5)
        found = evaluate(model, x, y, [attack])
        robust = found.cells[0]["robust_accuracy"]
        assert 0 < robust < 1
        passed = assert_robust(model, (x, y), Linf(0.05), at_least=robust, attacks=attack)
        assert passed.rows["fooled"].equals(found.rows["fooled"])
        with pytest.raises(AssertionError) as failed:
            assert_robust(model, (x, y), Linf(0.05), at_least=robust + 0.01, attacks=[attack])
        told = str(failed.value)
        fell = found.rows.query("attack != 'clean' and fooled")["index"]
        assert f"{100 * robust:.1f} % of 12 images" in told
        assert f"{100 * found.cells[0]['low']:.1f} %" in told
        assert f"images {', '.join(map(str, fell))} fell" in told
        with pytest.raises(AssertionError, match="the lower limit of"):
            assert_robust(model, (x, y), Linf(0.05), at_least=robust, attacks=[attack], surely=True)

    def test_an_image_is_robust_only_against_all_attacks(self, given):
        model, x, y = given
        attacks = {"least": FGSM(Linf(0.05), goal=toward_least_likely), "pgd": PGD(Linf(0.05))}
        rows = evaluate(model, x, y, attacks).rows.query("attack != 'clean'")
        alone = rows.groupby("attack")["fooled"].mean()
        together = 1 - rows.groupby("index")["fooled"].any().mean()
        assert together < 1 - alone["least"]
        assert_robust(model, (x, y), Linf(0.05), at_least=together, attacks=attacks)
        with pytest.raises(AssertionError, match="to pgd"):
            assert_robust(model, (x, y), Linf(0.05), at_least=together + 0.01, attacks=attacks)

    def test_what_is_wrong_is_no_failed_test(self, given):
        model, x, y = given
        with pytest.raises(InputError, match="fraction"):
            assert_robust(model, (x, y), Linf(0.05), at_least=45.0)
        with pytest.raises(InputError, match="not within"):
            assert_robust(model, (x, y), Linf(0.05), at_least=0.4, attacks=PGD(Linf(0.1)))

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"images": 0}, "images is 0, but must be at least 1"),
            ({"images": -3}, "images is -3, but must be at least 1"),
            ({"images": 2.0}, "images is 2.0, but must be a whole number"),
            ({"data": images(4)}, r"data is a Tensor, .* give \(x, y\)"),
            ({"data": None}, "data is a NoneType, "),
            ({"data": TensorDataset(images(4), torch.zeros(4))}, "data is a TensorDataset, "),
            ({"data": (images(4),)}, "data is a tuple, "),
            ({"data": (images(4), None)}, "labels"),
            ({"attacks": "pgd"}, "attacks is 'pgd', but must be an? Attack"),
            ({"attacks": ["pgd"]}, "attacks is .*, but must be an? Attack"),
            ({"threat": L2(math.inf), "attacks": None}, r"threat is L2\(eps=inf\), .* finite"),
            ({"threat": 0.05}, "threat is 0.05, but must be a Threat"),
            ({"surely": "no"}, "surely is 'no', but must be True or False"),
            ({"at_least": "all"}, "at_least is 'all', but must be a number"),
            ({"model": None}, "model"),
        ],
    )
    def test_every_wrong_argument_is_one_sentence(self, given, wrong, words):
        model, x, y = given
        right = {"model": model, "data": (x, y), "threat": Linf(0.05), "at_least": 0.0}
        with pytest.raises(HoldfastError, match=words) as refused:
            assert_robust(**{**right, "attacks": FGSM(Linf(0.05)), **wrong})
        assert str(refused.value).rstrip(".").count(". ") == 0

    def test_where_nothing_fell_the_lower_limit_is_what_is_too_low(self, given):
        """Its own number stands beside its name, and no list of no images."""
        model, x, y = given
        nothing = FGSM(Linf(0.0))
        with pytest.raises(AssertionError) as failed:
            assert_robust(model, (x, y), Linf(0.0), at_least=1.0, attacks=nothing, surely=True)
        told = str(failed.value)
        low = 100 * proportion_interval(12, 12)[0]
        assert told.startswith(f"{low:.1f} %, the lower limit of robust accuracy 100.0 % of 12")
        assert "is below the 100.0 % asked for: no image fell" in told
        assert "images  fell" not in told

    def test_pytest_finds_the_fixture_and_starts_without_torch(self, tmp_path):
        (tmp_path / "test_mine.py").write_text(
            "import sys\n"
            "def test_light():\n"
            "    assert 'torch' not in sys.modules\n"
            "def test_robust(assert_robust):\n"
            "    import torch, holdfast\n"
            "    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))\n"
            "    x = torch.rand(3, 1, 2, 2)\n"
            "    y = model(x).argmax(1)\n"
            "    attack = holdfast.attacks.FGSM(holdfast.Linf(0.0))\n"
            "    assert_robust(model.eval(), (x, y), holdfast.Linf(0.0), at_least=1.0,\n"
            "                  attacks=attack)\n"
        )
        command = [sys.executable, "-m", "pytest", "-q", "-p", "holdfast.testing.plugin"]
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", "test_mine.py"],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "2 passed" in done.stdout

    def test_the_plugin_is_the_packages_entry_point(self):
        text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
        points = tomllib.loads(text)["project"]["entry-points"]["pytest11"]
        assert points == {"holdfast": "holdfast.testing.plugin"}


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({}, {}, []),
        ({"votes": 100}, {"votes": 20}, []),  # nobody votes
        (
            {"sigma": 0.3, "noise": "gaussian", "votes": 20, "stochastic": True},
            {"sigma": None, "votes": 100},
            ["the runs have other noise, gaussian of sigma 0.3 and none."],
        ),
        (
            {"sigma": 0.3, "noise": "gaussian", "votes": 20, "stochastic": True},
            {"sigma": 0.2, "noise": "gaussian", "votes": 50, "stochastic": True},
            [
                "the runs have other noise, gaussian of sigma 0.3 and gaussian of sigma 0.2.",
                "the runs have other numbers of votes, 20 and 50.",
            ],
        ),
    ],
)
def test_other_noise_is_told_and_votes_where_there_are_any(one, other, told):
    abouts = [
        {"settings": {"model": "m", "seed": 0, "attacks": [], **each}, "cells": []}
        for each in (one, other)
    ]
    assert _notes(abouts) == told
