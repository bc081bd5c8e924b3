import contextlib
import inspect
import json
import math
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest
import torch
import yaml
from markupsafe import escape
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import holdfast
from holdfast import specs, tuning
from holdfast.certify.bounds.bound import BOUNDS
from holdfast.certify.intervals.interval import INTERVALS
from holdfast.cli import common, registry, schedules
from holdfast.cli.commands import COMMANDS, EXAMPLES, OPTIONS
from holdfast.cli.common import print_table, size
from holdfast.cli.diagnose.command import Shared
from holdfast.cli.main import read, run
from holdfast.cli.options import Numbers, Words
from holdfast.defenses import MALADE, NOISES, Binarise
from holdfast.errors import HoldfastError, InputError, UnknownNameError
from holdfast.gradients import Average, Evolution, FiniteDifferences, UnitDraw
from holdfast.models import ARCHITECTURES, DENOISERS, Architecture, Normalize
from holdfast.models.checkpoint import save_model
from holdfast.models.external.names import IMAGENET
from holdfast.models.layers import LAYERS
from holdfast.models.loading import load
from holdfast.models.purified import PURIFIED, save_purified
from holdfast.results import read_about
from holdfast.threat import L2, Linf
from holdfast.training import TRADES, Adversarial, DeepDefense, OneByOne, Stability, Standard, Total
from holdfast.training.randomized import half_normal
from tests.cases import ATTACKS
from tests.test_tuning import networks
from tools.site import methods

ROOT = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a network, a callable, and nothing else; the working directory."""
    monkeypatch.chdir(tmp_path)
    made = Architecture(name="small", shape=(1, 8, 8), classes=10)
    save_model(tmp_path / "net.safetensors", made.build(), made)
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, output):\n"
        "        super().__init__()\n"
        "        self.output = output\n"
        "        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 640).view(10, 64))\n"
        "        self.eval()\n"
        "    def forward(self, x):\n"
        "        return self.output(x.flatten(1) @ self.weight.T)\n"
        "class Masked(Net):\n"
        "    def forward(self, x):\n"
        "        return super().forward((4 * x).round() / 4)\n"
        "def good(): return Net(lambda z: z)\n"
        "def masked(): return Masked(lambda z: z.softmax(1))\n"
        "class Clipped(Net):\n"
        "    def forward(self, x):\n"
        "        return super().forward(x.clamp(0, 1))\n"
        "def unready(): return Clipped(lambda z: z.softmax(1)).train()\n"
        "def training(): return Net(lambda z: z).train()\n"
        "def flat(): return Net(lambda z: z.sum(1))\n"
        "def nan(): return Net(lambda z: z * float('nan'))\n"
        "def few(): return Net(lambda z: z[:, :4])\n"
        "def inf(): return Net(lambda z: z * float('inf'))\n"
        "def whole(): return Net(lambda z: z.long())\n"
        "def late():\n"
        "    answers = iter(range(2))\n"
        "    def output(z):\n"
        "        if next(answers, None) is None: raise RuntimeError('late')\n"
        "        return z\n"
        "    return Net(output)\n"
    )
    (tmp_path / "damaged.safetensors").write_bytes(b"\0" * 50)
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pth")
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    sys.modules.pop("mine", None)
    return tmp_path


@pytest.fixture
def bounded():
    """A test that would go on for ever fails; one that ends has all the time it needs."""

    def forever(*_):
        pytest.fail("it goes on for ever")

    before = signal.signal(signal.SIGALRM, forever)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def code(*arguments):
    try:
        return run([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


EVALUATE = ("evaluate", "--images", "20", "--quiet", "--attacks", "pgd(steps=3)")
CERTIFY = ("certify", "--images", "20", "--quiet", "--votes", "20")


def objective(spec, **flags):
    data = holdfast.data.load("digits", "train", limit=20)
    return registry.objective(spec, data, torch.device("cpu"), **flags)


class TestJson:
    def test_what_the_network_prints_stays_out_of_it(self, place, capsys):
        printing = "import mine\ndef net():\n    print('loading')\n    return mine.good()\n"
        (place / "chatty.py").write_text(printing)
        for more in ((), ("--dry-run",)):
            assert code(*EVALUATE, "--model", "chatty:net", "--json", *more) == 0
            out, err = capsys.readouterr()
            assert json.loads(out)
            assert "loading" in err

    def test_evaluate_prints_one_object_and_nothing_else(self, place, capsys):
        assert code(*EVALUATE, "--model", "mine:good", "--eps", "0,0.1", "--json") == 0
        out = capsys.readouterr().out
        cells = json.loads(out)["cells"]
        assert len(cells) == 2
        assert set(cells[0]) == {
            "model",
            "attack",
            "norm",
            "eps",
            "n",
            "clean_accuracy",
            "robust_accuracy",
            "low",
            "high",
            "median_distance",
            "forwards",
            "backwards",
            "seconds",
        }
        assert cells[0]["model"] == "mine:good"
        assert cells[0]["n"] == 20
        assert cells[0]["robust_accuracy"] == cells[0]["clean_accuracy"]
        assert not list(place.glob("run*"))

    def test_certify_prints_one_object_and_nothing_else(self, place, capsys):
        assert code(*CERTIFY, "--model", "net.safetensors", "--sigma", "0.1", "--json") == 0
        (cell,) = json.loads(capsys.readouterr().out)["cells"]
        assert set(cell) == {
            "model",
            "sigma",
            "noise",
            "norm",
            "votes",
            "confidence",
            "bound",
            "interval",
            "of_votes",
            "draws",
            "guaranteed",
            "images",
            "accuracy",
            "abstained",
            "curve",
            "at",
            "forwards",
            "seconds",
        }
        assert cell["images"] == 20
        assert cell["forwards"] == 20 * (20 + 100)  # votes, and those that choose the class
        assert all(len(point) == 2 for point in cell["curve"])

    def test_certify_reads_several_bounds_off_the_same_votes(self, place, capsys):
        several = ("--bounds", "renyi,cohen", "--intervals", "two-sample,clopper-pearson")
        command = (*CERTIFY, "--model", "net.safetensors", "--sigma", "0.1", *several)
        assert code(*command, "--radii", "0.05,0.1", "--json") == 0
        cells = json.loads(capsys.readouterr().out)["cells"]
        assert len({(cell["bound"], cell["interval"]) for cell in cells}) == 4
        assert all([point["radius"] for point in cell["at"]] == [0.05, 0.1] for cell in cells)
        assert code(*command, "--radii", "0.05,0.12345678") == 0
        printed = capsys.readouterr().out
        words = ("cohen", "two-sample", "clopper-pearson", "0.05", "0.12345678", "abstained")
        assert all(word in printed for word in words)

    def test_a_finished_run_prints_the_same_again(self, place, capsys):
        command = (*EVALUATE, "--model", "mine:good", "--out", "run", "--json")
        assert code(*command) == 0
        first = capsys.readouterr().out
        assert code(*command) == 0
        assert capsys.readouterr().out == first

    def test_evaluate_tells_how_far_images_were_moved(self, place, capsys):
        command = ("evaluate", "--images", "20", "--quiet", "--model", "mine:good")
        command = (*command, "--attacks", "fmn(steps=5)", "--norm", "l2", "--eps", "inf")
        assert code(*command, "--out", "run", "--json") == 0
        (line,) = json.loads(capsys.readouterr().out)["perturbations"]
        assert line["eps"] is None
        assert line["n"] == 20
        rows = pd.read_csv("run/rows.csv").query("attack != 'clean'")
        assert line["rho_2"] == pytest.approx((rows["l2"] / rows["x_l2"]).mean())
        assert code(*command, "--out", "run") == 0  # of the finished run
        assert f"{line['rho_2']:.3g}" in capsys.readouterr().out

    def test_evaluate_tells_what_its_numbers_rest_on(self, place, capsys):
        """On standard error, in the object, in run.json and on the page."""
        attack = "pgd(steps=2, random_start=False)"
        command = ("evaluate", "--images", "20", "--quiet", "--model", "mine:masked")
        for _ in range(2):  # then of the finished run
            assert code(*command, "--attacks", attack, "--out", "run", "--json") == 0
            captured = capsys.readouterr()
            told = json.loads(captured.out)["warnings"]
            assert told[0].startswith("the model's outputs look like probabilities")
            assert told[1].startswith("the model (Masked) sends back a gradient of exactly 0")
            assert "a small network fitted to imitate it" in told[1]
            heard = [line for line in captured.err.splitlines() if "warning: " in line]
            assert heard == [f"holdfast: warning: {note}" for note in told]
            assert json.loads(Path("run/run.json").read_text())["warnings"] == told
        assert code("report", "run", "--out", "page") == 0
        page = Path("page/report.html").read_text().split('<details class="record">')[0]
        assert all(page.count(escape(note)) == 1 for note in told)

    def test_certify_tells_what_its_numbers_rest_on(self, place, capsys):
        """On standard error, in the object, in run.json and on the page."""
        command = (*CERTIFY, "--model", "mine:unready", "--sigma", "0.1", "--json", "--out", "run")
        command = (*command, "--intervals", "clopper-pearson,sison-glaz")
        starts = (
            "the model is in training mode",
            "the model's outputs look like probabilities",
            "the limits of sison-glaz do not hold",
            "the model clips its images",
        )
        for _ in range(2):  # then of the finished run
            assert code(*command) == 0
            captured = capsys.readouterr()
            told = json.loads(captured.out)["warnings"]
            assert len(told) == len(starts)
            assert all(map(str.startswith, told, starts))
            heard = [line for line in captured.err.splitlines() if "warning: " in line]
            assert heard == [f"holdfast: warning: {note}" for note in told]
            assert json.loads(Path("run/run.json").read_text())["warnings"] == told
        assert code("report", "run", "--out", "page") == 0
        page = Path("page/report.html").read_text().split('<details class="record">')[0]
        assert all(page.count(escape(note)) == 1 for note in told)

    def test_progress_goes_to_standard_error(self, place):
        """As a user runs it: a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", *EVALUATE[:3], "--model", "mine:good", "--json"],
            capture_output=True,
            text=True,
            check=True,
            cwd=place,
        )
        assert {"cells", "perturbations", "warnings", "verdict", "audit"} == set(
            json.loads(done.stdout)
        )


class TestNamesThatPeopleType:
    @pytest.mark.parametrize(
        ("typed", "own"),
        [
            ("cw(steps=2, searches=1)", "carlini-wagner(steps=2, searches=1)"),
            ("PGD(steps=2)", "pgd(steps=2)"),
            ("bim(steps=2)", "i-fgsm(steps=2)"),
        ],
    )
    def test_an_attack_by_another_name_is_the_one_and_says_so(self, place, capsys, typed, own):
        command = ("evaluate", "--images", "8", "--model", "mine:good", "--norm", "linf", "--json")
        norm = ("--norm", "l2") if typed.startswith("cw") else ()
        told = []
        for name in (typed, own):
            assert code(*command, *norm, "--attacks", name, "--eps", "8/255") == 0
            captured = capsys.readouterr()
            (cell,) = json.loads(captured.out)["cells"]
            told.append({key: value for key, value in cell.items() if key != "seconds"})
            assert (f"{typed} is {own} here" in captured.err) is (name == typed)
        assert told[0] == told[1]
        assert told[0]["eps"] == 8 / 255

    def test_every_other_name_is_none_of_an_attack_here_and_names_one(self):
        assert not registry.ALIASES.keys() & set(registry.ATTACKS)
        assert set(registry.ALIASES.values()) <= set(registry.ATTACKS)

    def test_an_architecture_with_a_file_of_weights_is_a_model(self, place, capsys):
        state = load("net.safetensors").state_dict()
        torch.save(state, "net.pth")
        command = (*EVALUATE, "--attacks", "pgd(steps=2)", "--json", "--eps", "0.1", "--model")
        found = []
        for model in ("net.safetensors", "small(weights=net.pth)"):
            assert code(*command, model) == 0
            (cell,) = json.loads(capsys.readouterr().out)["cells"]
            found.append({**cell, "model": "", "seconds": 0})
        assert found[0] == found[1]

    def test_a_module_off_the_path_is_told_where_it_was_looked_for(self, place, capsys):
        (place / "src").mkdir()
        (place / "mine.py").rename(place / "src" / "mine.py")
        assert code(*EVALUATE, "--model", "mine:good") == 2
        assert "PYTHONPATH=src" in capsys.readouterr().err
        assert code(*EVALUATE, "--model", "nowhere.models:good") == 2
        assert str(place) in capsys.readouterr().err


class TestDryRun:
    def test_nothing_is_run_and_no_more_passes_are_made_than_it_says(self, place, capsys):
        command = (*EVALUATE[:-2], "--model", "mine:good", "--eps", "0.01,0.1", "--audit", "off")
        command = (*command, "--attacks", "fgsm,pgd(steps=7)", "--out", "run", "--json")
        assert code(*command, "--dry-run") == 0
        plan = json.loads(capsys.readouterr().out)
        assert not (place / "run").exists()
        assert code(*command) == 0
        cells = json.loads(capsys.readouterr().out)["cells"]
        assert plan["images"] == 20
        for line, cell in zip(plan["attacks"], cells, strict=True):
            assert (line["attack"], line["norm"], line["eps"]) == (
                cell["attack"],
                cell["norm"],
                cell["eps"],
            )
            assert 0 < cell["forwards"] + cell["backwards"] <= line["passes"]
            assert line["seconds"] > 0
        written = sum(path.stat().st_size for path in (place / "run").rglob("*") if path.is_file())
        assert plan["disk_bytes"] > written / 4
        assert code(*command[:-1], "--dry-run") == 0
        assert "pgd(steps=7)" in capsys.readouterr().out


def test_a_model_that_changes_while_it_is_attacked_is_told(place, capsys):
    """Its weights, by its own forward pass."""
    (place / "moving.py").write_text(
        "import torch, mine\n"
        "class Moving(mine.Net):\n"
        "    def forward(self, x):\n"
        "        z = super().forward(x)\n"
        "        with torch.no_grad(): self.weight.mul_(1 + 1e-7)\n"
        "        return z.detach() + 0 * z\n"
        "def net(): return Moving(lambda z: z)\n"
    )
    sys.modules.pop("moving", None)
    command = (*EVALUATE[:-2], "--audit", "off", "--attacks", "square(queries=5)", "--json")
    assert code(*command, "--model", "mine:good") == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []
    assert code(*command, "--model", "moving:net") == 0
    told = json.loads(capsys.readouterr().out)["warnings"]
    assert any("others after the attacks than before" in note for note in told)


class TestTables:
    """Read in a terminal of 80 columns, in which nothing is cut off."""

    @pytest.fixture(autouse=True)
    def narrow(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")

    def test_every_line_of_an_evaluation_fits_and_every_cell_is_whole(self, place, capsys):
        command = (*EVALUATE[:-2], "--model", "mine:good", "--eps", "8/255,0.1")
        suite = "worst-case(steps=2, targets=2, queries=4)"
        assert code(*command, "--attacks", f"{suite},fgsm") == 0
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= 80
        for word in ("linf 8/255", "linf 0.1", "accuracy", "interval", "second-order", "square"):
            assert word in shown
        assert "…" not in shown

    def test_a_table_that_is_too_wide_is_shown_line_below_line(self, capsys):
        rows = [{f"a long column {n}": f"value {n}" * 3 for n in range(6)}]
        print_table("wide", rows)
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= 80
        assert all(str(value) in shown for value in rows[0].values())
        assert all(name in shown for name in list(rows[0])[1:])

    @pytest.mark.parametrize("columns", ["0", "1", "20"])
    def test_no_terminal_is_too_narrow_for_a_number(self, capsys, monkeypatch, columns):
        monkeypatch.setenv("COLUMNS", columns)
        print_table("a title", [{"attack": "pgd", "accuracy": "65.0 %", "interval": "40.8–84.6"}])
        shown = capsys.readouterr().out
        assert all(word in shown for word in ("a title", "pgd", "65.0 %", "40.8–84.6"))

    @pytest.mark.parametrize("eps", [8 / 255, 0.3, 0.25, 1 / 3, 2.0])
    def test_a_size_reads_as_it_is_written(self, eps):
        assert specs.number(size(eps)) == pytest.approx(eps, rel=1e-4)
        assert size(8 / 255) == "8/255"


BAD = [
    ("evaluate --model mine:good --eps -0.1", "eps is -0.1"),
    ("evaluate --model mine:good --eps 0.1,x", "x"),
    ("evaluate --model mine:good --attacks pdg", "did you mean 'pgd'"),
    ("evaluate --model mine:good --attacks pgd(stepz=3)", "did you mean 'steps'"),
    ("evaluate --model mine:good --attacks pgd(steps=0)", "steps is 0"),
    ("evaluate --model mine:good --attacks pgd(3)", "name=value"),
    ("evaluate --model mine:good --attacks pgd,pgd", "same name"),
    ("evaluate --model mine:good --out run --attacks pgd(steps=1.5)", "steps is 1.5"),
    ("evaluate --model mine:good --out run --attacks pgd(steps=True)", "steps is True"),
    ("evaluate --model mine:good --out run --attacks pgd(restarts=1e9)", "a whole number"),
    ("evaluate --model mine:good --out run --attacks pgd(restarts=1000000000)", "hours"),
    ('evaluate --model mine:good --out run --attacks pgd(goal="margin")', "without quotes"),
    ("evaluate --model mine:good --out run --attacks pgd(goal=3)", "must be a Goal"),
    ("evaluate --model mine:good --out run --attacks pgd(steps=5,steps=6)", "steps is given twice"),
    ("evaluate --model mine:good --out run --attacks pgd(steps=5)(steps=6)", "character 13"),
    (
        "evaluate --model mine:good --out run --attacks pgd(step_size=x)",
        "step_size is 'x', but must",
    ),
    ("evaluate --model mine:good --out run --attacks pgd(step_size='1')", "must be a number"),
    ("evaluate --model mine:good --out run --attacks spatial(angles=3)", "a tuple, each"),
    (f"evaluate --model mine:good --out run --attacks pgd(steps={'9' * 5000})", "cannot be read"),
    (f"evaluate --model mine:good --attacks pgd(steps={'(' * 300}1{')' * 300})", "cannot be read"),
    ("evaluate --model mine:good --out run --keep-images 99999999999999999999", r"2\^53"),
    ("evaluate --model mine:good --out run --seed 99999999999999999999", "64 bits"),
    ("evaluate --model mine:good --out=", "names no file or folder"),
    ("evaluate --model mine:inf --out run", "infinite logits for image 0"),
    ("evaluate --model mine:whole --out run", "torch.int64"),
    ("evaluate --model mine:late --out run", "RuntimeError: late"),
    ("certify --model mine:late --sigma 0.1 --out run", "RuntimeError: late"),
    ("certify --model mine:good --sigma 0.1 --out=", "names no file or folder"),
    ("evaluate --model mine:good --attacks second-order(sigma=-1)", "sigma is -1"),
    ("evaluate --model mine:good --norm l3", "choose from|did you mean"),
    ("evaluate --model mine:good --norm l0 --out run", "whole number, such as 25"),
    ("evaluate --model mine:good --norm l0 --eps 5 --out run", "PGD is not defined in l0"),
    (
        "train --model small --objective adv-train-2 --norm l0 --eps 5 --out run",
        "FGSM is not defined in l0",
    ),
    ("evaluate --model mine:good --sigma 0", "sigma is 0"),
    ("evaluate --model mine:good --sigma 1e17", r"sigma is 1e\+17, but must be below 2\^53"),
    ("evaluate --model mine:good --votes 0", "votes is 0"),
    ("evaluate --model mine:good --attacks mim(steps=9),mim(steps=9,decay=1)", "are one attack"),
    ("evaluate --model mine:good --images 0", "0 images are asked for"),
    ("evaluate --model mine:good --data mnits", "did you mean 'mnist'"),
    ("evaluate --model mine:good --data ./nowhere", "no image folder"),
    ("evaluate --model mine:good --data images", "Net|shape|ModelError|failed on images"),
    ("evaluate --model mine:good --out file.txt", "is a file"),
    ("evaluate --model mine:good --accelerator quantum", "quantum"),
    ("evaluate --model mine:good --accelerator tpu", "tpu"),
    ("evaluate --model nowhere", "there is no model"),
    ("evaluate --model ./nett.safetensors", "did you mean net.safetensors"),
    ("evaluate --model nowhere.safetensors", "there is no model"),
    ("evaluate --model damaged.safetensors", "damaged"),
    ("evaluate --model mine.pth", "there is no model"),
    ("evaluate --model whole.pth", r"pickle of more than numbers.*state_dict"),
    ("evaluate --model small(weights=whole.pth)", r"pickle of more than numbers.*state_dict"),
    ("evaluate --model foreign.safetensors", "not which network's"),
    ("evaluate --model small(weights=foreign.safetensors)", "is none of its"),
    ("evaluate --model small(weights=net.pth)", "no file of weights"),
    ("evaluate --model timm/resnet18(weights='a1',pretrained=True)", "leave one of them out"),
    ("evaluate --model lenet", "without weights"),
    ("evaluate --model mine:flat", "shape"),
    ("evaluate --model mine:nan", "NaN for image 0"),
    ("evaluate --model mine:few", "label 4 is 4, but the model has 4"),
    ("evaluate --model mine:nothing", "no 'nothing'"),
    ("evaluate --model no_module:f", "cannot be imported"),
    ("evaluate", "--model"),
    ("evaluate --modle x", "--modle"),
    ("evaluate --model mine:good --batch-size abc", "must be of type int or auto; given abc;"),
    ("evaluate --model mine:good --keep-images abc", "must be of type int; given abc;"),
    ("certify --model mine:good --sigma 0", "sigma is 0"),
    ("certify --model mine:good --sigma 0.1 --votes 0", "votes is 0"),
    ("certify --model mine:good --sigma 0.1 --confidence 1", "confidence is 1"),
    ("certify --model mine:good --sigma 0.1 --bounds reny", "did you mean 'renyi'"),
    ("certify --model mine:good --sigma 0.1 --intervals pearson", "clopper-pearson"),
    ("certify --model mine:good --sigma 0.1 --bounds cohen(eps=1)", "bound cohen has no parameter"),
    (
        "certify --model mine:good --sigma 0.1 --bounds renyi,cohen(",
        r"cohen>>>\(: the bracket",
    ),
    ("certify --model mine:good --sigma 0.1 --bounds cohen(1)", "name=value"),
    (
        "certify --model mine:good --sigma 0.1 --intervals hoeffding(n=1)",
        "interval hoeffding has no parameter n; it has none at all",
    ),
    (
        "certify --model mine:good --sigma 0.1 --within 0.9 --intervals sequential(most=5)",
        "interval sequential has no parameter most",
    ),
    ("certify --model mine:good --sigma 0.1 --intervals hoeffding)", r"bracket \) closes none"),
    ("certify --model mine:good --sigma 0.1 --selection-votes 0", "selection_votes is 0"),
    (
        "certify --model mine:good --sigma 0.1 --within 2 --intervals sequential",
        "within 2.0, but that is a factor between 0 and 1",
    ),
    (
        "certify --model mine:good --sigma 0.1 --within 0.9 --between 2,1 --intervals sequential",
        "between 2, 1, but that is two radii",
    ),
    ("certify --model mine:good --sigma 0.1 --votes 3", "give votes of at least 5"),
    ("certify --model mine:good --sigma 0.1 --bounds laplace", "the noise is GaussianNoise"),
    ("certify --model mine:good --sigma 0.1 --noise lapalce", "did you mean 'laplace'"),
    ("certify --model mine:good --sigma 0.1 --intervals sequential", "by radii or within"),
    ("certify --model mine:good --sigma 0.1 --within 0.9", "give the interval sequential"),
    ("certify --model mine:good --sigma 0.1 --radii 0", "radii"),
    ("evaluate --model mine:good --sigma 0.1 --noise guassian", "did you mean 'gaussian'"),
    ("certify --model mine:nan --sigma 0.1", "NaN"),
    ("certify --model mine:good", "--sigma"),
    ("train --model smal --out run", "did you mean 'small'"),
    ("train --model A --out run", "too small"),
    ("train --model small --objective stabilty(sigma=1) --out run", "did you mean 'stability'"),
    ("train --model small --objective stability --out run", r"needs sigma, as in stability\("),
    ("train --model small --objective pgd --out run", "needs --eps"),
    ("train --model small --objective pgd --eps -1 --out run", "eps is -1"),
    ("train --model small --epochs 0 --out run", "epochs is 0"),
    ("train --model small --out file.txt", "is a file"),
    ("train --model small --out=", "names no file or folder"),
    ("train --model small --out run --objective pgd(eps=0.1,steps=1.5)", "steps is 1.5"),
    ("train --model small --out run --objective pgd(eps=True)", "eps is True"),
    ("train --model small --out run --objective pgd(eps=0.1,norm=[])", "norm is \\[\\]"),
    ("train --model small --out run --seed 99999999999999999999", "64 bits"),
    (f"train --model small --out run --checkpoint-seconds {'9' * 400}", "can be held"),
    ("train --model small --out run --checkpoint-seconds=1/0", "can be held"),
    ("train --model small --out run --checkpoint-seconds=-1", "checkpoint_seconds is -1"),
    ("train --model small --out run --optimizer adam(weight_decay=inf)", "weight_decay is inf"),
    ("train --model small --out run --clip inf", "clip is inf"),
    ("train --model small --out run --images 20 --shift 8", "images of 8 x 8 pixels"),
    (f"train --model small --out run --shift {'9' * 400}", r"shift is 9+\.\.\."),
    ("train --model small --out run --devices 1000000000", "at most 1024"),
    (f"train --model small --out run --devices {'9' * 400}", r"devices is 9+\.\.\."),
    (f"train --model small --out run --data {'x' * 5000}", r"unknown data set 'x+\.\.\."),
    (
        f"train --model small --out run --data folder(path={'x' * 5000})",
        r"no image folder x+\.\.\.",
    ),
    (f"evaluate --model {'9' * 150_000}", 'option "model": has more digits'),
    (f"certify --model mine:good --sigma {'9' * 150_000}", 'option "sigma": has more digits'),
    (f"evaluate --model small({'9' * 150_000})", "with a name of 150007"),
    (f"train --out run --from {'x' * 5000}", "too long to name a file"),
    (f"evaluate --model {'x' * 5000}", "with a name of 5000"),
    (f"evaluate --model mine:good --out {'x' * 5000}", "with a name of 5000"),
    ("certify --model mine:good --sigma 1/0", "can be held"),
    ("certify --model mine:good --sigma 0.1 --confidence 1/0", "can be held"),
    ("train --model small --optimizer sdg --out run", "unknown optimizer 'sdg'"),
    ("report nowhere", "holds no run .*give a folder that a command had as --out"),
    ("report images", "holds no run"),
    ("trian --model small", "did you mean 'train'"),
    ("evaluate --config nowhere.yaml", "nowhere.yaml"),
    ("", "command"),
]


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(("line", "words"), BAD, ids=[line or "nothing" for line, _ in BAD])
def test_bad_input_is_one_sentence_and_changes_no_file(place, capsys, line, words):
    (place / "file.txt").write_text("mine")
    (place / "images" / "a").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(place / "images" / "a" / "1.png")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert code(*line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("holdfast: ")
    assert max(map(len, captured.err.split())) <= 200
    assert re.search(words, captured.err)
    assert not (place / "run").exists()
    after = {
        path: path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert after == before


@pytest.mark.parametrize("line", ["report r\udcfcns", "evaluate --model mine:good --out r\udcfcn"])
def test_a_path_in_another_encoding_is_told_as_such(place, capsys, line):
    before = [*place.iterdir()]
    assert code(*line.split()) == 2
    assert "is no UTF-8, in which runs record their paths: rename it" in capsys.readouterr().err
    assert [*place.iterdir()] == before


def test_a_folder_that_cannot_be_written_is_found_before_any_work(place, capsys, monkeypatch):
    """The system's answer is planted, since a superuser may write almost anywhere."""

    def refused(**_):
        raise PermissionError(13, "Permission denied")

    tempfile = SimpleNamespace(TemporaryDirectory=refused)
    monkeypatch.setattr("holdfast.files.writing.tempfile", tempfile)
    assert code(*EVALUATE, "--model", "mine:good", "--out", "run") == 2
    assert "cannot be written (Permission denied)" in capsys.readouterr().err
    assert not (place / "run").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux has it")
def test_not_even_a_superuser_writes_to_proc(place, capsys):
    assert code(*EVALUATE, "--model", "mine:good", "--out", "/proc/run") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_model_in_training_mode_is_warned_of(place, capsys):
    assert code(*EVALUATE, "--model", "mine:training", "--json") == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("holdfast: warning: the model is in training mode")
    assert captured.err.count("\n") == 1
    json.loads(captured.out)


def test_a_full_disk_is_told_without_a_traceback(place, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("holdfast.results.run.write_table", full)
        assert code(*EVALUATE, "--model", "mine:good", "--out", "run") == 1
    assert capsys.readouterr().err.strip().endswith("No space left on device")
    assert code(*EVALUATE, "--model", "mine:good", "--out", "run") == 0


def test_an_interruption_is_told(place, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("holdfast.cli.list.print_table", interrupted)
    assert code("list") == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_documented_with_its_default(command, capsys):
    assert code(*command.split(), "--help") == 0
    told = {}
    for line in capsys.readouterr().out.partition("\nExample")[0].splitlines():
        if begin := re.match(r"  (--[a-z][a-z0-9-]*|runs|what)(?=[ ,]|$)", line):
            told[begin[1]] = about = []
        if told:
            about += line.split()
    function = COMMANDS[command].load()
    parameters = inspect.signature(function).parameters
    options = {
        name
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        else "--" + name.rstrip("_").replace("_", "-"): parameter
        for name, parameter in parameters.items()
    }
    assert set(told) - {"--config", "--print-config"} == set(options)
    for option, parameter in options.items():
        about = " ".join(told[option])
        assert re.match(rf"{option}( \S+)+ [A-Z\"a-z].*\. ", about), about
        if parameter.default is not inspect.Parameter.empty:
            shown = {None: "null"}.get(parameter.default, parameter.default)
            assert f"default: {shown}" in about
    documented = re.findall(r"^    (\w+):", inspect.getdoc(function).partition("Args:")[2], re.M)
    assert documented == list(parameters)


def test_yaml_configuration_and_overrides(place, capsys):
    (place / "run.yaml").write_text(
        "model: mine:good\nattacks: [fgsm, 'pgd(steps=2)']\neps: [0.05, 0.1]\nimages: 20\n"
        "quiet: true\njson: true\n"
    )
    assert code("evaluate", "--config", "run.yaml", "--eps", "0.2") == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [(c["attack"], c["eps"]) for c in cells] == [("fgsm", 0.2), ("pgd(steps=2)", 0.2)]
    assert code("evaluate", "--config", "run.yaml", "--print-config") == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["eps"] == [0.05, 0.1]
    assert printed["attacks"] == ["fgsm", "pgd(steps=2)"]
    assert printed["batch_size"] == 128


def test_options_take_the_place_of_the_files_wherever_they_stand(place, capsys):
    (place / "run.yaml").write_text(
        "model: mine:good\nattacks: fgsm\neps: 0.1\nimages: 5\nquiet: true\njson: true\n"
    )
    (place / "more.yaml").write_text("eps: 0.3\n")
    for line, eps in (
        (["--eps", "0.2", "--config", "run.yaml"], 0.2),
        (["--eps=0.2", "--config=run.yaml"], 0.2),
        (["--config", "run.yaml", "--config", "more.yaml"], 0.3),  # the last file's
        (["--config", "more.yaml", "--eps", "0.2", "--config", "run.yaml"], 0.2),
    ):
        assert code("evaluate", *line) == 0
        assert [cell["eps"] for cell in json.loads(capsys.readouterr().out)["cells"]] == [eps]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("attacks:\n  pgd: {steps: 100}", "{'pgd': {'steps': 100}} is a mapping"),
        ("eps: {a: 0.1}", "is a mapping"),
        ("seed: {1: 2}", "is a mapping"),
        ("model: mine:good", "run.yaml has model twice"),
        ("eps: 0.1\neps: 0.2", "run.yaml has eps twice"),
        ("attacks:", "attacks has no value"),
        ("eps:", "eps has no value"),
        ("seed: ~", "seed has no value"),
        ("norm: null", "norm has no value"),
        ("eps: []", "--eps is empty"),
        ("config: other.yaml", "unknown option of evaluate 'config'"),
        ("print_config: true", "unknown option of evaluate 'print_config'"),
    ],
)
def test_what_a_file_cannot_mean_is_refused_before_the_first_file(place, capsys, text, named):
    (place / "run.yaml").write_text(f"model: mine:good\nimages: 5\nout: run\n{text}\n")
    assert code("evaluate", "--config", "run.yaml") == 2
    said = capsys.readouterr().err
    assert named in said
    assert said.count("\n") == 1
    assert not (place / "run").exists()


def test_seeds_may_be_negative(place):
    line = "evaluate --model mine:good --images 5 --eps 0.1 --quiet --seed -1 --out run"
    assert code(*line.split()) == 0
    assert read_about(place / "run")["settings"]["seed"] == -1


def test_a_plan_without_steps_says_so(place, capsys):
    line = "reproduce second-order-attack-and-certifiable-robustness/figure-4 --scale quick"
    assert code(*line.split(), "--dry-run", "--out", "run") == 0
    assert "0 steps" in capsys.readouterr().out


def test_what_is_printed_of_a_configuration_can_be_given(place, capsys):
    assert code("evaluate", "--model", "mine:good", "--images", "5", "--print-config") == 0
    (place / "run.yaml").write_text(capsys.readouterr().out)
    assert code("evaluate", "--config", "run.yaml", "--quiet") == 0


LAUGHS = "\n".join(
    ["l0: &l0 [1, 1]", *(f"l{k}: &l{k} [*l{k - 1}, *l{k - 1}]" for k in range(1, 40))]
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        LAUGHS.replace("[", "{a: ").replace(", ", ", b: ").replace("]", "}"),
        "eps: &e [*e]",
        "eps: " + "[" * 500 + "]" * 500,
    ],
    ids=["lists", "maps", "itself", "deep"],
)
def test_a_configuration_of_growing_aliases_is_refused_before_it_grows(place, capsys, text):
    (place / "run.yaml").write_text(text)
    assert code("evaluate", "--config", "run.yaml") == 2
    said = capsys.readouterr().err
    assert "stands for more than 10000 values" in said
    assert said.count("\n") == 1


def test_a_configuration_may_name_its_parts(place):
    (place / "run.yaml").write_text("model: mine:good\ndata: &a digits\nout: *a\nimages: 5\n")
    assert code("evaluate", "--config", "run.yaml", "--quiet", "--attacks", "fgsm") == 0
    assert (place / "digits" / "rows.csv").exists()


@pytest.mark.parametrize(
    "line",
    [
        "evaluate --config pipe",
        "evaluate --model pipe --data digits",
        "evaluate --model net --data digits",
        "evaluate --model mine:good --data pictures",
        "evaluate --model mine:good --data mnist --data-dir files",
        "evaluate --model mine:good --data digits --out begun",
        "train --from pipe --data digits --out new",
        "report begun",
        "report rows",
    ],
)
@pytest.mark.usefixtures("bounded")
def test_a_pipe_is_refused(place, capsys, line):
    """Reading one would wait for ever."""
    for folder in ("net", "pictures/one", "files/MNIST/raw", "begun", "rows"):
        (place / folder).mkdir(parents=True)
    of_what = ("model", "model_fingerprint", "data", "data_fingerprint")
    numbers = {"images": 1, "shape": [1, 8, 8], "sigma": 0.1, "votes": 1, "confidence": 0.9}
    about = {"kind": "certify", "complete": True, "settings": dict.fromkeys(of_what, "x") | numbers}
    cell = {"accuracy": 0.0, "abstained": 0.0, "curve": [[0.0, 0.0]], "model": "x"}
    cell |= {name: numbers[name] for name in ("images", "sigma", "confidence")}
    (place / "rows/run.json").write_text(json.dumps({**about, "classes": ["0"], "cells": [cell]}))
    for name in (
        *("pipe", "net/model.safetensors", "pictures/one/a.png", "begun/run.json"),
        *("files/MNIST/raw/t10k-images-idx3-ubyte", "rows/rows.csv"),
    ):
        os.mkfifo(place / name)

    assert code(*line.split()) == 2
    said = capsys.readouterr().err
    assert "is a pipe, a device or a socket" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_the_summary_is_the_first_line_of_the_docstring(command):
    documented = inspect.getdoc(COMMANDS[command].load())
    assert COMMANDS[command].summary == documented.splitlines()[0]


def commands_in(text):
    """The holdfast commands of a text's code, each with its continued lines."""
    whole = text.replace("\\\n", " ")
    fenced = "\n".join(re.findall(r"^```bash\n(.*?)^```", whole, re.DOTALL | re.MULTILINE))
    return [
        *(line.strip() for line in whole.splitlines() if line.startswith("    holdfast ")),
        *(line for line in fenced.splitlines() if line.startswith("holdfast ")),
    ]


SHOWN = [
    *commands_in("".join(f"    {line}\n" for line in EXAMPLES.splitlines())),
    *(
        line
        for command in COMMANDS.values()
        for line in commands_in(inspect.getdoc(command.load()))
    ),
    *(method.command for method in methods.methods() if method.command),
    *(
        line
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
        for line in commands_in(page.read_text())
        if " ..." not in line and "$" not in line and page.parent.name != "tutorials"  # are typed
    ),
]


@pytest.mark.parametrize("line", dict.fromkeys(SHOWN))
def test_a_command_that_is_shown_can_be_typed(line, monkeypatch):
    """In help and documentation: all of its options are there, and its specs can be read."""
    monkeypatch.chdir(ROOT)
    mine = ModuleType("mine")  # the reader's own
    mine.attack = lambda model, x, y, *, steps: x
    monkeypatch.setitem(sys.modules, "mine", mine)
    _, options = read(shlex.split(line, comments=True)[1:])
    for name in ("objective", "optimizer", "schedule", "attack", "val_attack"):
        if options.get(name):
            specs.parse(options[name])
    for spec in options.get("attacks", ()):
        size = 1.0 if options["norm"] == "l0" else 0.5  # l0 counts
        registry.attack(spec, registry.threat(options["norm"], size))
    if "optimizer" in options:
        schedules.optimizer(options["optimizer"])
        schedules.rate(options["schedule"])


def test_commands_are_shown():
    """Or the test before would be about nothing."""
    assert {line.split()[1] for line in SHOWN} == {name.split()[0] for name in COMMANDS}


@pytest.mark.parametrize(
    ("command", "heavy", "says"),
    [
        (
            ["--help"],
            "torch pandas scipy matplotlib rich sklearn lightning_fabric jsonargparse torchvision",
            "Examples:",
        ),
        *(
            (command, "torch._dynamo scipy.stats sklearn torchvision", says)
            for command, says in (
                (["list"], "apgd"),
                (["evaluate", "--help"], "--attacks"),
                (["train", "--help"], "--objective"),
                (["reproduce", "list"], "table-1"),
            )
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_only_informs_imports_nothing_that_it_does_not_need(command, heavy, says):
    """Each of these takes a part of a second, or seconds."""
    program = (
        "import atexit, sys; from holdfast.cli.main import run; "
        f"there = lambda: print(*(set({heavy.split()}) & set(sys.modules)), file=sys.stderr); "
        f"atexit.register(there); run({command!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert says in done.stdout
    assert done.stderr.split() == []


def test_the_processor_is_a_device_without_fabric(monkeypatch):
    """Which takes more than a second to import."""
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)  # not to be had
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    device = runpy.run_path(common.__file__)["device"]
    assert device("cpu") == device("auto") == torch.device("cpu")


def test_help_shows_every_command(capsys):
    assert code("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert code("tune", "--help") == 0
    assert "tune malade" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("evaluate --model m --limit 3", "write --images instead"),
        ("evaluate --model m --limit=3", "write --images instead"),
        ("train --model small --limit 3 --out run", "write --images instead"),
        ("certify --model m --sigma 1 --n 3", "write --votes instead"),
        ("certify --model m --sigma 1 --n0 3", "write --selection-votes instead"),
        ("certify --model m --sigma 1 --bound cohen", "write --bounds instead"),
        ("certify --model m --sigma 1 --interval hoeffding", "write --intervals instead"),
        ("certify --model m --sigma 1 --radius 1", "write --radii instead"),
        ("evaluate --model m --binarise 0.5", r'write --model "binarise\(threshold=0.5\) \| MODEL'),
        *(
            (f"train --out run --{old} 1", rf"--{old} is .* any more; write --{new} ")
            for new, olds in (
                ("optimizer", "lr momentum nesterov beta1 beta2 alpha weight-decay"),
                ("schedule", "decay decay-at decay-factor decay-peak warm-up"),
            )
            for old in olds.split()
        ),
        ("train --out run --steps 3", r'write --objective "pgd\(steps=10\)" instead'),
        ("train --out run --step-size=0.1", r'write --objective "pgd\(step_size=0.01\)" instead'),
        ("train --out run --sigma 0.1", r'write --objective "stability\(sigma=0.3\)" instead'),
        ("train --out run --gamma 1", r'write --objective "stability\(sigma=0.3, gamma=1\)" in'),
        ("train --config noisy.yaml --out run", r"sigma is not .* any more; write --objective"),
        ("train --config stepping.yaml --out run", r"step_size is not .* any more; write --obj"),
        ("train --out run --parseval 1", r'write --hooks "parseval\(beta=1e-4\)" instead'),
        ("train --config old.yaml --out run", "decay_at is not .* any more; write --schedule"),
        ("train --config odd.yaml --out run", "unknown option of train 'epoch'.* 'epochs'"),
        ("train --optimizer sgd --beta1 0.5 --out run", "beta1"),
        ("tune --out run", "needs a second word: malade"),
        ("tune malad --out run", "did you mean 'malade'"),
        ("evaluate --imagse 3", "unknown option of evaluate '--imagse': did you mean '--images'"),
        ("train --out run --average 0.9", "--average is .* any more; write --ema instead"),
        ("report a --limit 3", "unknown option of report"),
    ],
)
def test_what_was_spelled_otherwise_is_refused_with_its_new_spelling(place, capsys, line, words):
    (place / "old.yaml").write_text("decay_at: [1]")
    (place / "odd.yaml").write_text("epoch: 1")
    (place / "noisy.yaml").write_text("objective: stability\nsigma: 0.1")
    (place / "stepping.yaml").write_text("objective: pgd\nstep_size: 0.1")
    assert code(*line.split()) == 2
    said = capsys.readouterr().err
    assert re.search(words, said)
    assert said.count("\n") == 1
    assert not (place / "run").exists()


BINARISED = "binarise(threshold=0.5) | {}"


def test_a_long_attack_leaves_room_for_what_it_left_robust(place, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    attack = "r+fgsm(gradient=average(samples=2, noise=0.1), alpha=0.01, goal=cross_entropy)"
    assert code("evaluate", "--model", "net.safetensors", "--images", "5", "--attacks", attack) == 0
    said = capsys.readouterr().out
    assert "…" not in said
    assert all(word in said for word in ("accuracy", "seconds"))
    assert re.search(r"\d\.\d %", said.partition("──")[2])


def test_layers_stand_in_front_of_any_model(place, capsys):
    """What is attacked, certified and recorded is the whole."""
    net = BINARISED.format("net.safetensors")
    loaded = load(net)
    x = holdfast.data.load("digits", limit=5).x(torch.arange(5))
    assert torch.equal(loaded(x), load("net.safetensors")((x > 0.5).float()))
    assert not loaded.training
    assert load(BINARISED.format("mine:training")).training  # is warned of, as without the layer
    assert code(*EVALUATE, "--model", net, "--json", "--out", "run") == 0
    assert json.loads(capsys.readouterr().out)["cells"][0]["model"] == net
    assert code(*CERTIFY, "--model", net, "--sigma", "0.1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["cells"][0]["model"] == net
    several = "binarise | normalize(mean=[0.5], std=[0.25]) | net.safetensors"
    by_hand = load("net.safetensors")(((x > 0.5).float() - 0.5) / 0.25)
    assert torch.allclose(load(several)(x), by_hand, atol=1e-6)


def test_a_network_is_trained_behind_a_layer(place):
    train = "train --images 100 --epochs 1 --ema 0.9 --quiet --normalize"
    assert code(*train.split(), "--model", BINARISED.format("small"), "--out", "run") == 0
    layer, network = load("run")
    assert isinstance(layer, Binarise)
    assert layer.threshold == 0.5
    assert isinstance(network[0], Normalize)
    settings = json.loads(Path("run/run.json").read_text())["settings"]
    assert settings["model"] == BINARISED.format("small")
    assert code(*train.split()[:-1], "--from", "run", "--out", "tuned") == 0
    assert isinstance(load("tuned")[0], Binarise)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("binarize | net.safetensors", "unknown layer 'binarize': did you mean 'binarise'"),
        ("binarise(treshold=0.5) | net.safetensors", "no parameter treshold; .* 'threshold'"),
        ("binarise(threshold=2) | net.safetensors", "threshold is 2"),
        ("binarise(threshold=0.5 | net.safetensors", "there is no model|is not closed"),
        ("binarise | nett.safetensors", "did you mean net.safetensors"),
        ("binarise | small", "small is an architecture without weights"),
        ("| net.safetensors", "names no layer"),
        ("binarise |", "no model is named"),
    ],
)
def test_a_wrong_layer_is_one_sentence(place, capsys, spec, words):
    assert code("evaluate", "--model", spec) == 2
    said = capsys.readouterr().err
    assert re.search(words, said)
    assert said.count("\n") == 1


def test_a_twin_is_loaded_as_a_model_is_and_in_a_dry_run_too(place, capsys):
    torch.save(load("net.safetensors").state_dict(), "net.pth")
    given = (*EVALUATE, "--model", "mine:good", "--json", "--twin")
    assert code(*given, "small(weights=net.pth)") == 0
    capsys.readouterr()
    assert code(*given, "small(weights=net.pth)", "--dry-run") == 0
    (said,) = json.loads(capsys.readouterr().out)["remarks"]
    assert "crafted on small(weights=net.pth) too" in said
    assert code(*given, "nothing", "--dry-run") == 2
    assert "there is no model nothing" in capsys.readouterr().err


def test_noise_behind_the_first_layer_finds_no_layer_behind_another(place, capsys):
    given = ("--model", BINARISED.format("net.safetensors"), "--sigma", "0.3", "--noise")
    assert code(*CERTIFY, *given, "first-layer") == 2
    assert "Binarise" in capsys.readouterr().err


TABLE = "reproduce ensemble-adversarial-training/table-7"


class TestAudit:
    def test_strict_ends_with_3_where_the_numbers_cannot_be_believed(self, place, capsys):
        command = (
            "evaluate",
            "--images",
            "20",
            "--quiet",
            "--model",
            "mine:masked",
            "--out",
            "run",
        )
        command = (*command, "--attacks", "pgd(steps=2, random_start=False)", "--json")
        assert code(*command) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["verdict"] == "not believable"
        kept = json.loads(Path("run/run.json").read_text())
        assert told["audit"] == kept["audit"]
        assert code(*command, "--strict") == 3
        assert "holdfast: not believable: " in capsys.readouterr().err
        assert code("audit", "run", "--quiet", "--strict", "--json") == 3
        again = json.loads(capsys.readouterr().out)["runs"]["run"]
        assert again["verdict"] == "not believable"
        assert again["audit"]["limit"] is None
        assert json.loads(Path("run/run.json").read_text()) == kept

    def test_what_is_audited_is_told_where_a_later_run_cannot_be(self, place, capsys):
        command = ("evaluate", "--images", "5", "--quiet", "--audit", "off", "--attacks", "fgsm")
        for name in ("here", "gone"):
            assert code(*command, "--model", "mine:good", "--out", name) == 0
        about = json.loads(Path("gone/run.json").read_text())
        about["settings"]["model"] = "../nets/net"
        Path("gone/run.json").write_text(json.dumps(about))
        capsys.readouterr()
        assert code("audit", "here", "gone", "--quiet", "--audit", "0.1") == 2
        told = capsys.readouterr()
        assert "\nhere, " in told.out
        assert "gone is of the model ../nets/net, which is not there; say by --model" in told.err
        assert code("audit", "gone", "--quiet", "--model", "mine:good") == 0

    def test_off_is_said(self, place, capsys):
        command = ("evaluate", "--images", "20", "--quiet", "--model", "mine:good")
        assert code(*command, "--attacks", "fgsm", "--audit", "off") == 0
        assert capsys.readouterr().out.startswith("not audited: holdfast audit RUN")
        assert code(*command, "--attacks", "fgsm", "--audit", "-1") == 2


UNUSED = [
    ("train --model small --top 5 --out run", "none are held out"),
    ("evaluate --noise gaussian", "--noise gaussian .* needs --sigma"),
    ("evaluate --votes 5", "--votes is about models that draw random numbers"),
    ("evaluate --samples 5", "--samples is about models that draw random numbers"),
    ("evaluate --each", "--each is about a defence"),
    ("evaluate --variants bpda", "--variants is about a defence"),
    ("evaluate --share-sizes", "--share-sizes is about several sizes, and 0.1 is the only one"),
    ("evaluate --keep-images 3", "--keep-images .* give --out"),
    ("evaluate --source mine:good --each --out run", "--each is about a defence"),
    ("evaluate --source mine:good --variants plain", "--variants is about a defence"),
    ("evaluate --audit off --strict", "--strict asks what the audit says"),
    ("evaluate --penalties 0.1,1", "--penalties weighs what a purifier"),
    ("evaluate --twin mine:good --attacks square", "--twin mine:good is what attacks that follow"),
    ("evaluate --data-dir . --data digits", "digits is none that it is asked for"),
    ("evaluate --data-dir . --data images", "images is none that it is asked for"),
    ("evaluate --data-dir . --data imagenet", "ImageNet is not in ."),
    ("evaluate --data-dir . --data imagenet(crop=299)", "crop is 299, but must be at most resize"),
    ("evaluate --data-dir . --data tiny-imagenet", "TinyImageNet is not in ."),
    ("evaluate --data folder(path=images,side=3)", "data set folder has no parameter side"),
    ("certify --sigma 0.1 --intervals hoeffding --selection-votes 5", "--selection-votes"),
    ("certify --sigma 0.1 --within 0.9", "sequential"),
    ("certify --sigma 0.1 --audit off --strict", "--strict asks what the audit says"),
    ("certify --sigma 0.1 --radii 1 --intervals sequential --between 1,2", "between .* give it"),
    ("certify --sigma 0.1 --workers 2 --devices 2 --out run", "--workers and --devices both"),
    ("audit nothing --data-dir .", "nothing holds no run"),
    ("verify images --data digits", "--data is about asking the model again"),
    ("verify images --data-dir .", "--data-dir is about asking the model again"),
    ("verify images --passes 9", "--passes is about asking the model again"),
    ("verify images --accelerator cpu", "--accelerator is about asking the model again"),
    ("verify images --manifest 00", "images is a folder, and a manifest's SHA-256 is that of"),
    ("certify --sigma 0.1 --data-dir .", "digits is none"),
    ("train --model small --val-norm l2 --out run", "--val-norm .* give --val-attack"),
    ("train --model small --val-eps 1 --out run", "--val-eps .* give --val-attack"),
    ("train --model small --eps 0.3 --out run", "--eps is about .* objective standard has none"),
    ("train --model small --norm l2 --out run", "--norm is about .* objective standard has none"),
    ("train --model small --val-attack fgsm --val-eps 1 --out run", "no images are held out"),
    ("train --from net.safetensors --normalize --out run", "leave out --model and --normalize"),
    ("train --from net.safetensors --centre --out run", "leave out --centre"),
    ("train --from net.safetensors --init keras --out run", "leave out --init with --from"),
    ("train --from net.safetensors --model mlp --out run", "leave out --model and --normalize"),
    ("train --model small --data-dir . --out run", "digits is none"),
    ("train --model small --patience 3 --out run", "--patience .* give --hold-out"),
    (
        "train --model small --best val_robust_accuracy --hold-out 20 --out run",
        "under an attack on held-out images: give .*--val-attack",
    ),
    ("train --model small --best val_accuracy --out run", "unknown metric"),
    ("diagnose purification --out run --source mine:good --variant bpda", "--variant"),
    ("diagnose purification --out run --source mine:good --samples 3", "--samples"),
    ("diagnose purification --out run --data-dir .", "digits is none"),
    ("diagnose purification --out run --samples 29", "--samples is 29, but bpda-eot takes 30"),
    ("diagnose purification --out run", "safetensors does not begin with a chain that purifies"),
    ("diagnose margin --out run --model mine:good,mine:good", "--model has mine:good twice"),
    ("diagnose ibp --out run --eps 0.1,0.2,0.1", "--eps has 0.1 twice"),
    ("diagnose subspace --out run --orders 4,4", "--orders has 4 twice"),
    ("diagnose surface --out run --other mine:good --points 4", "an odd number of points"),
    ("diagnose surface --out run --other mine:good --points 1", "from 3 on"),
    ("diagnose linearity --out run --single pgd", "the single-step attack takes 40 steps"),
    ("diagnose linearity --out run --multi fgsm", "the multi-step attack takes one step"),
    ("evaluate --dry-run --workers 2", "--dry-run .* --workers .* leave out"),
    ("evaluate --dry-run --strict", "--dry-run .* --strict .* leave out"),
    ("diagnose curvature --out run --data-dir .", "digits is none"),
    (
        "diagnose discrepancy --networks mine:good,net.safetensors --future mine:good --out run "
        "--data-dir .",
        "digits is none",
    ),
    ("diagnose filters --out run --data-dir .", "digits is none"),
    ("diagnose perceptual --out run --data-dir .", "digits is none"),
    ("diagnose margin --out run --data-dir .", "digits is none"),
    ("diagnose convergence --out run --data-dir .", "digits is none"),
    ("diagnose gradient-norm --out run --data-dir .", "digits is none"),
    ("diagnose ibp --out run --data-dir .", "digits is none"),
    ("diagnose linearity --out run --data-dir .", "digits is none"),
    ("diagnose subspace --out run --data-dir .", "digits is none"),
    ("diagnose surface --other mine:good --out run --data-dir .", "digits is none"),
    (
        "reproduce ensemble-adversarial-training/table-7 --scale quick --out run --data-dir .",
        "digits is none",
    ),
    (
        "reproduce ensemble-adversarial-training/table-7 --out run --pages pages --dry-run",
        "--pages .* leave out",
    ),
    (
        "reproduce ensemble-adversarial-training/table-7 --out run --finished --dry-run",
        "--finished .* leave out",
    ),
    (
        "reproduce ensemble-adversarial-training/table-7 --out run --finished --workers 2",
        "--finished .* --workers .* leave out",
    ),
    (
        "reproduce ensemble-adversarial-training/table-7 --out run --dry-run --workers 2",
        "--dry-run .* --workers .* leave out",
    ),
    (
        "reproduce ensemble-adversarial-training/table-7 --out run --finished --at-once 2",
        "--finished .* --at-once .* leave out",
    ),
    (
        "reproduce ensemble-adversarial-training/table-7 --out run --dry-run --at-once 2",
        "--dry-run .* --at-once .* leave out",
    ),
    (
        "reproduce ensemble-adversarial-training/table-7 --out run --workers 2 --at-once 2",
        "--workers .* --at-once .* leave out",
    ),
    (
        "reproduce ensemble-adversarial-training/table-7 --out run --finished --data-dir .",
        "--finished .* leave out --data-dir",
    ),
]


UNUSED_BY_TUNE = [
    (
        "tune malade --classifier classifier --denoiser denoiser --sigma 0.3 --out run "
        "--data-dir .",
        "digits is none",
    ),
]


@pytest.mark.parametrize(("line", "words"), UNUSED)
def test_an_option_that_is_not_used_is_refused(place, capsys, line, words):
    (place / "images" / "a").mkdir(parents=True)
    Image.new("L", (8, 8)).save(place / "images" / "a" / "1.png")
    without = any(word in line for word in ("--model", "--from", "reproduce", "verify"))
    model = [] if without else ["--model", "net.safetensors"]
    assert code(*line.split(), *model) == 2
    said = capsys.readouterr().err
    assert re.search(words, said), said
    assert said.count("\n") == 1
    assert not (place / "run").exists()


#: Options that are used whatever else is chosen.
ALWAYS_USED = {
    "demo": "out seed quiet",
    "list": "",
    "train": "out images objective shift flip epochs batch_size accumulate optimizer schedule clip "
    "ema hooks hold_out data from precision accelerator devices num_nodes strategy "
    "checkpoint_seconds keep_epochs seed quiet",
    "tune malade": "classifier denoiser out data images steps alpha delta anneal sigma attack norm "
    "eps first_images finalists finalist_images votes samples batch_size seed accelerator json "
    "quiet",
    "evaluate": "dry_run model data images attacks norm eps attack_all sigma source batch_size "
    "precision compile channels_last audit seed accelerator workers out json quiet",
    "audit": "runs model data audit strict accelerator json quiet",
    "certify": "model sigma data images noise votes confidence bounds intervals top radii "
    "batch_size audit seed accelerator devices workers out json quiet",
    "compare": "runs fail_if_worse junit json quiet",
    "diagnose purification": "model out data image attack source norm eps at seed accelerator "
    "quiet",
    "diagnose convergence": "steps overshoot",
    "diagnose curvature": "xi sigma samples iterations",
    "diagnose discrepancy": "networks future attack future_attack norm eps confidence",
    "diagnose filters": "",
    "diagnose gradient-norm": "attacks norm eps",
    "diagnose ibp": "norm eps",
    "diagnose linearity": "single multi norm eps",
    "diagnose margin": "steps overshoot box",
    "diagnose perceptual": "attack norm eps",
    "diagnose subspace": "norm eps orders",
    "diagnose surface": "other eps points",
    "reproduce": "what scale out dry_run finished workers at_once json quiet",
    "report": "runs out title quiet",
    "bundle": "runs out title laboratory customer authorised_by issued quiet",
    "verify": "what model json quiet",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_use_of_every_option_is_known(command):
    """An option is always used, or there is a case above in which it is not, and is refused."""
    options = {name.rstrip("_") for name in inspect.signature(COMMANDS[command].load()).parameters}
    always = set(ALWAYS_USED[command].split())
    if command.startswith("diagnose ") and command != "diagnose purification":
        always |= {entry.name for entry in fields(Shared)} - {"data_dir"}
    refused = {
        name.replace("-", "_")
        for line, _ in (*UNUSED, *UNUSED_BY_TUNE)
        if line.startswith(f"{command} ")
        for name in re.findall(r"--([a-z-]+)", line)
    }
    assert always <= options
    assert options - always <= refused


@pytest.mark.parametrize(("line", "words"), UNUSED_BY_TUNE)
def test_tune_refuses_what_it_does_not_use(place, capsys, line, words):
    for name, (network, architecture) in networks().items():
        (place / name).mkdir()
        save_model(place / name / "model.safetensors", network, architecture)
        settings = {
            "data": "digits",
            "data_fingerprint": "0",
            "images": 1,
            "held_out": 0,
            "seed": 0,
        }
        about = {"kind": "train", "complete": True, "settings": settings}
        (place / name / "run.json").write_text(json.dumps(about))
    assert code(*line.split()) == 2
    assert re.search(words, capsys.readouterr().err)
    assert not (place / "run").exists()


@pytest.mark.parametrize(
    ("command", "config"),
    [
        ("certify", holdfast.certify.CertificationConfig),
        ("evaluate", holdfast.EvaluationConfig),
        ("tune malade", tuning.Search),
    ],
)
def test_a_configuration_is_called_as_the_options_that_say_it(command, config):
    """So that what is wrong with a field is told by the word that was typed."""
    options = inspect.signature(COMMANDS[command].load()).parameters
    told = {entry.name for entry in fields(config)} - {"hidden"}  # of which nothing can be wrong
    assert told <= set(options)


def test_every_command_can_be_quiet():
    """But the one whose output is all that it does."""
    quiet = {
        name
        for name, command in COMMANDS.items()
        if "quiet" in inspect.signature(command.load()).parameters
    }
    assert quiet == set(COMMANDS) - {"list"}


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_other_commands_are_refused(place, capsys, command):
    """None is read as something else, or passed over."""
    own = {name.rstrip("_") for name in inspect.signature(COMMANDS[command].load()).parameters}
    others = {option for group in OPTIONS.values() for option in group} - own
    assert others
    for option in others:
        written = f"--{option.replace('_', '-')}"
        assert code(*command.split(), written, "1") == 2
        said = capsys.readouterr().err
        assert written in said
        assert said.count("\n") == 1


def test_list_names_everything(capsys, monkeypatch):
    """In a table of its own for each kind: no name is found only because another contains it."""
    monkeypatch.setenv("COLUMNS", "400")
    assert code("list") == 0
    listed = []
    for line in capsys.readouterr().out.splitlines():
        if re.match(r"  name\b", line):
            listed.append(set())
        elif re.match(r"  \S", line):
            listed[-1].add(line.split()[0])
    kinds = (
        *(registry.ATTACKS, registry.ALIASES, registry.NORMS, registry.GOALS, registry.GRADIENTS),
        registry.RULES,
        *({*ARCHITECTURES, *IMAGENET}, LAYERS, DENOISERS, registry.OBJECTIVES),
        *(registry.DIVERGENCES, registry.SIZE_DISTRIBUTIONS),
        *(schedules.OPTIMIZERS, schedules.SCHEDULES, registry.HOOKS),
        *(holdfast.data.DATASETS, NOISES, BOUNDS, INTERVALS),
    )
    assert listed == [set(kind) for kind in kinds]


def test_version(capsys):
    assert code("--version") == 0
    assert holdfast.__version__ in capsys.readouterr().out


def test_train_then_evaluate_then_certify_then_report(place, capsys):
    """The path of the README, on a few digits."""
    train = "train --model small --objective stability(sigma=0.2) --epochs 2 --images 200 --quiet"
    assert code(*train.split(), "--out", "runs/stn") == 0
    assert (
        code(
            *EVALUATE,
            "--model",
            "runs/stn",
            "--norm",
            "l2",
            "--eps",
            "0.2,0.4",
            "--out",
            "runs/eval",
        )
        == 0
    )
    assert (
        code(
            *EVALUATE,
            "--model",
            "runs/stn",
            "--norm",
            "l2",
            "--eps",
            "0.2,0.4",
            "--sigma",
            "0.2",
            "--votes",
            "20",
            "--out",
            "runs/vote",
        )
        == 0
    )
    assert code(*CERTIFY, "--model", "runs/stn", "--sigma", "0.2", "--out", "runs/cert") == 0
    capsys.readouterr()
    given = ("runs/stn", "runs/eval", "runs/vote", "runs/cert")
    assert code("report", *given, "--out", "runs/report") == 0
    assert "runs/report/report.html" in capsys.readouterr().out
    page = (place / "runs/report/report.html").read_text()
    assert "Stability(sigma=0.2, gamma=1.0)" in page  # how the network was trained
    assert code("report", "runs/stn", "--out", "r") == 2
    assert "holdfast train" in capsys.readouterr().err


def test_attack_specifications():
    parsed = registry.attack("pgd(steps=7, restarts=2, goal=margin, early_stop=False)", Linf(0.1))
    assert parsed == holdfast.attacks.PGD(
        Linf(0.1), steps=7, restarts=2, goal=holdfast.goals.margin, early_stop=False
    )
    assert registry.attack(" second-order ", L2(1)) == holdfast.attacks.SecondOrder(L2(1))
    with pytest.raises(UnknownNameError, match="goal"):
        registry.attack("pgd(goal=margn)", Linf(0.1))
    for wrong in ("pgd(steps=__import__('os'))", "pgd(steps=3", "pgd(**{'steps': 3})", "", "a b"):
        with pytest.raises((InputError, UnknownNameError)):
            registry.attack(wrong, Linf(0.1))


@pytest.mark.parametrize("name", registry.ATTACKS)
def test_the_record_of_an_attack_is_the_same_in_every_process(name):
    """Or a run that was broken off would not go on."""
    made = []
    for threat in registry.NORMS.values():
        with contextlib.suppress(InputError):  # not an attack of this norm
            made.append(repr(registry.attack(name, threat(1.0))))
    assert made
    assert not any(" at 0x" in record for record in made)


def test_every_attack_of_the_library_has_a_name():
    made_of_attacks = {"Restarts", "EachTarget", "Then", "Worst", "BPDA", "OnMeanScore"}
    presets = {
        getattr(holdfast.attacks, case.name) for case in ATTACKS if case.name not in made_of_attacks
    }
    assert presets == set(registry.ATTACKS.values())


def test_the_gradient_of_an_attack_is_written_with_its_parameters():
    """STN 6.2's C&W on the averaged gradient, and R+FGSM by differences, among them."""
    average = Average(samples=10, noise=0.2)
    written = registry.attack("carlini-wagner(gradient=average(samples=10, noise=0.2))", L2(1.0))
    assert written == holdfast.attacks.CarliniWagner(L2(1.0), gradient=average)
    written = registry.attack("r+fgsm(gradient=evolution(samples=50, sigma=0.01))", Linf(0.3))
    evolution = Evolution(samples=50, sigma=0.01)
    assert written == holdfast.attacks.RFGSM(Linf(0.3), gradient=evolution)
    written = registry.attack("r+fgsm(gradient=finite_differences(h=0.02))", Linf(0.3))
    assert written.gradient == FiniteDifferences(h=0.02)
    for name, make in (("pgd", holdfast.attacks.PGD), ("fgsm", holdfast.attacks.FGSM)):
        falling = registry.attack(f"{name}(gradient=average(samples=2, noise=(0.3, 1/20)))", L2(1))
        assert falling == make(L2(1), gradient=Average(samples=2, noise=(0.3, 0.05)))
        exact = registry.attack(f"{name}(gradient=autograd)", L2(1))
        assert exact == make(L2(1))
    nested = registry.attack("pgd(gradient=unit_draw(xi=1, gradient=average(samples=2)))", L2(1))
    assert nested.gradient == UnitDraw(xi=1, gradient=Average(samples=2))


@pytest.mark.parametrize(
    ("gradient", "told"),
    [
        ("averge(samples=3)", "did you mean 'average'"),
        ("average", "gradient average needs samples"),
        ("average(noise=0.1)", "gradient average needs samples"),
        ("average(samples=3, sigma=0.1)", "gradient average has no parameter sigma"),
        ("average(samples=1.5)", "samples is 1.5, but must be a whole number"),
        ("average(samples=100000000)", "at most 10,000,000 is taken"),
        ("evolution(samples=3, sigma=0.1)", "an even number"),
        ("autograd(samples=3)", "autograd has no parameter samples"),
        ("'average'", "without quotes"),
        ("3", "gradient is 3, but must be"),
    ],
)
def test_a_wrong_gradient_is_refused_in_a_sentence(gradient, told):
    with pytest.raises(HoldfastError, match=told):
        registry.attack(f"pgd(gradient={gradient})", Linf(0.1))


def test_objectives_by_name():
    assert objective("standard") == Standard()
    assert objective("stability(sigma=0.5)") == Stability(sigma=0.5)
    assert objective("stability(sigma=0.5, gamma=2)") == Stability(sigma=0.5, gamma=2)
    assert objective("pgd(steps=40)", eps=0.3, norm="linf") == Adversarial(
        attack=holdfast.attacks.PGD(Linf(0.3), steps=40, early_stop=False)
    )
    assert objective("pgd(steps=7)", eps=1, norm="l2").attack.threat == L2(1)
    fgsm = objective("fgsm", eps=0.3)
    assert fgsm.weight == 0.5
    assert isinstance(fgsm.attack.goal, holdfast.goals.AgainstPrediction)
    assert objective("trades(eps=0.3, steps=10, beta=6)") == TRADES(threat=Linf(0.3))
    by_entropy = objective("trades(divergence=cross_entropy)", eps=0.3)
    assert by_entropy.divergence is holdfast.losses.soft_cross_entropy
    drawn = objective("r+fgsm(eps=0.2, alpha=0.05, draw=half_normal, replace=True, weight=0.5)")
    assert drawn.attack.distribution is half_normal
    assert drawn.attack.threat == Linf(0.2)
    assert drawn.replace
    for spec in ("fgsm", "r+fgsm", "pgd"):
        each = objective(f"{spec}(eps=0.2, draw=half_normal, draw_each=True)").attack
        assert isinstance(each, OneByOne)
        assert each.attack.distribution is half_normal
    with pytest.raises(InputError, match="draw=half_normal"):
        objective("fgsm(eps=0.2, draw_each=True)")
    assert objective("adv-train-2(eps=0.1, alpha=0.25)").weight == 0.75
    assert objective("alp(eps=0.1, weight=2)").weight == 2
    assert objective("deep-defense(weight=5, p=inf, layer='fc')") == DeepDefense(
        weight=5, p=math.inf, layer="fc"
    )
    both = objective("deep-defense(adv_train_2=0.2)")
    assert both.base.objectives[1].attack == holdfast.attacks.FGSM(Linf(0.2))
    assert objective("noise(sigma=0.2)").sigma == objective("dae(sigma=0.2)").sigma == 0.2


def test_every_objective_of_the_library_has_a_name():
    """By the class that is made; what Python alone says is a sum, and functions that name one."""
    classes = {
        thing
        for thing in (getattr(holdfast.training, name) for name in holdfast.training.__all__)
        if inspect.isclass(thing) and thing.__module__.startswith("holdfast.training.objectives")
    }
    made = {
        make if inspect.isclass(make) else inspect.signature(make, eval_str=True).return_annotation
        for make in registry.OBJECTIVES.values()
    }
    assert made == classes - {Total}


def test_objectives_with_other_networks(place):
    """Sources, classifier and teacher are named by folders or files, and recorded by weights."""
    weights = holdfast.tensors.fingerprint(holdfast.models.loading.load("net.safetensors"))
    for spec in (
        "ensemble(eps=0.3, sources=['net.safetensors', 'mine:good'], draw=uniform)",
        "ensemble(eps=0.3, sources='net.safetensors', cache='cache', goal=least_likely)",
        "sdae(sigma=0.3, classifier='net.safetensors')",
        "sdae(sigma=0.3, classifier='net.safetensors', weight='mean', balanced=True)",
        "distillation(teacher='net.safetensors', temperature=3)",
        "adv-train-1(reference='net.safetensors', cache='examples')",
    ):
        made = objective(spec)
        assert weights in repr(made)
        assert " at 0x" not in repr(made)
    spec = "ensemble(eps=0.3, sources='net.safetensors', draw=half_normal, draw_each=True)"
    own, static = objective(spec).attack.attacks
    assert isinstance(own, OneByOne)
    assert isinstance(static.attack, OneByOne)
    ensemble = objective("ensemble(eps=0.3, sources=['net.safetensors', 'mine:good'])")
    assert len(ensemble.attack.attacks) == 3
    assert ensemble.replace
    assert list(Path("cache").rglob("00000.signs.npy"))


WRONG_OBJECTIVES = [
    ("pdg(eps=0.1)", {}, "did you mean 'pgd'"),
    ("standard", {"eps": 0.1}, "--eps is about .* objective standard has none"),
    ("stability(sigma=0.1, steps=3)", {}, "no parameter steps; it has sigma, gamma"),
    ("trades(eps=0.1, bta=6)", {}, "no parameter bta; did you mean 'beta'"),
    ("pgd(eps=0.1, share=0.5)", {}, "no parameter share any more; write weight instead"),
    ("trades(eps=0.1)", {"eps": 0.2}, "eps is given twice, as --eps 0.2"),
    ("trades(eps='a')", {}, "eps is 'a', but must be a number"),
    ("trades(eps=0.1, divergence=lk)", {}, "did you mean 'kl'"),
    ("trades(eps=0.1", {}, r"character 7, trades>>>\(eps=0.1: the bracket \( is not closed"),
    ("trades(0.1)", {}, "name=value"),
    ("pgd", {}, "needs --eps"),
    ("pgd(eps=0.1, norm='l3')", {}, "l3"),
    ("pgd(eps=0.1, data=3)", {}, "no parameter data"),
    ("ensemble(eps=0.1)", {}, r"needs sources, as in ensemble\(sources=...\)"),
    ("ensemble(eps=0.1, sources=[])", {}, "must name trained networks"),
    ("ensemble(eps=0.1, sources=[3])", {}, "sources is \\[3\\], but must be text or a list"),
    ("ensemble(eps=0.1, sources=['nowhere'])", {}, "there is no model nowhere"),
    ("ensemble(eps=1, norm='l2', sources='net.safetensors', cache='c')", {}, "linf alone"),
    ("distillation", {}, "needs teacher"),
]


@pytest.mark.parametrize(("spec", "flags", "words"), WRONG_OBJECTIVES)
def test_a_wrong_objective_is_one_sentence(place, spec, flags, words):
    with pytest.raises(holdfast.errors.HoldfastError, match=words):
        objective(spec, **flags)


def test_train_with_an_objective_in_parentheses(place, capsys):
    spec = "ensemble(eps=0.1, sources=['net.safetensors'], cache='cache')"
    train = "train --model small --epochs 1 --images 64 --quiet"
    assert code(*train.split(), "--objective", spec, "--out", "runs/ensemble") == 0
    settings = json.loads(Path("runs/ensemble/run.json").read_text())["settings"]
    assert "GradientCache(name='net.safetensors', weights=" in settings["objective"]


def test_lists_on_the_command_line():
    assert Words.of("fgsm, pgd(steps=1, restarts=2),mim") == (
        "fgsm",
        "pgd(steps=1, restarts=2)",
        "mim",
    )
    assert Numbers.of("0.1,2") == (0.1, 2.0)
    assert Numbers.of([1, 2.5]) == Numbers.of("1,2.5")
    assert Numbers.of(0.3) == (0.3,)


def test_a_source_crafts_and_the_target_is_scored(place, capsys):
    target = (*EVALUATE, "--model", "net.safetensors", "--eps", "0.2", "--json")
    assert code(*target, "--source", "mine:good") == 0
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    assert cell["forwards"] == cell["backwards"] == 0  # the target was not asked
    assert code(*target, "--source", "mine:good,net.safetensors") == 0
    assert code(*target, "--source", "mine:god") == 2
    assert "god" in capsys.readouterr().err


def test_a_purified_source_is_attacked_by_all_that_it_calls_for(place, capsys):
    """Else what transfers from it would be decided by one draw of a chain's gradient."""
    Path("malade").mkdir()
    layer = MALADE(nn.Identity(), steps=2, alpha=0.02, delta=0.05, sigma=0.3)
    save_purified(Path("malade") / PURIFIED, layer, networks())
    target = (*EVALUATE, "--model", "net.safetensors", "--eps", "0.2", "--json")
    crafted = ("--source", "malade", "--attacks", "pgd(steps=2)", "--samples", "2", "--votes", "3")
    assert code(*target, *crafted) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    variants = ["pgd, bpda", "pgd, bpda-eot", "pgd", "pgd, r-bpda", "pgd, r"]
    assert [cell["attack"].replace("(steps=2)", "") for cell in cells] == variants
    assert code(*target, *crafted, "--variants", "bpda,r", "--penalties", "0.1,10") == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    variants = ["pgd, bpda", "pgd, r(0.1)", "pgd, r(10.0)"]
    assert [cell["attack"].replace("(steps=2)", "") for cell in cells] == variants
    itself = (
        *EVALUATE,
        "--model",
        "malade",
        "--variants",
        "bpda,plain",
        "--json",
        "--samples",
        "2",
    )
    assert code(*itself) == 0
    told = capsys.readouterr()
    assert list(json.loads(told.out)["cells"][0]["broken_by"]) == ["bpda", "plain"]
    assert "bpda-eot, r-bpda, r: the model calls for these variants" in told.err


def test_the_smallest_perturbation_and_the_suite(place, capsys):
    free = ("--attacks", "ddn(steps=20)", "--norm", "l2", "--eps", "inf", "--out", "free")
    assert code(*EVALUATE, "--model", "net.safetensors", *free, "--json") == 0
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    assert cell["eps"] is None
    assert cell["median_distance"] > 0
    capsys.readouterr()
    assert code("report", "free", "--out", "free-report", "--quiet") == 0
    assert capsys.readouterr().out == ""
    suite = ("--attacks", "worst-case(steps=4, targets=2, queries=20)", "--eps", "0.1")
    assert code(*EVALUATE, "--model", "net.safetensors", *suite) == 0
    assert "worst-case" in capsys.readouterr().out


def test_evaluate_agrees_with_the_library(place, capsys):
    """The command's number is that of the same few lines of Python."""
    assert code(*EVALUATE, "--model", "net.safetensors", "--eps", "0.2", "--json") == 0
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    model = holdfast.models.loading.load("net.safetensors")
    digits = holdfast.data.load("digits", limit=20)
    result = holdfast.evaluate(
        model,
        digits.x(torch.arange(20)),
        digits.y,
        [holdfast.attacks.PGD(holdfast.Linf(0.2), steps=3)],
    )
    assert cell["robust_accuracy"] == result.cells[0]["robust_accuracy"]


def test_lists_between_commas_are_of_the_types_that_commands_ask_for():
    """A plain tuple is written otherwise: the source of an attack was recorded as "('net',)"."""
    _, options = read(["evaluate", "--model", "a,b", "--source", "net", "--eps", "0.1,inf"])
    assert [str(options[name]) for name in ("model", "source", "eps")] == ["a,b", "net", "0.1,inf"]
    assert str(options["seed"]) == "0"  # by default
    assert options["penalties"] is None
    _, options = read(["diagnose", "purification", "--model", "a", "--at", "1,2", "--out", "o"])
    assert str(options["at"]) == "1,2"
