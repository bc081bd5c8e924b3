"""Passes told before a command is run: no fewer than it makes, and as many where none can stop."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from holdfast import L2
from holdfast.attacks import Attack, Boundary, OnMeanScore, SaltAndPepper, Square
from holdfast.attacks.adaptive import adaptive
from holdfast.certify.smoothing import named_noise
from holdfast.cli.main import read, run
from holdfast.cli.passes import passes
from holdfast.counting import Tally
from holdfast.diagnose import by_image
from holdfast.evaluation.forecast import passes_of
from holdfast.models import Architecture, loading
from holdfast.reproduce import Scale, Step, recipe
from holdfast.reproduce.steps import in_order

IMAGES = 12


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks that have learnt a little, and one that kept its epochs."""
    place = tmp_path_factory.mktemp("runs")
    for name, seed in (("net", 0), ("other", 1)):
        typed = f"train --model small --epochs 2 --images 600 --seed {seed} --keep-epochs true"
        assert run([*typed.split(), "--quiet", "--out", str(place / name)]) == 0
    return place


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch) -> Tally:
    """Counts the passes of all networks that are loaded."""
    tally, load = Tally(), loading._load

    def counting(*args: Any, **options: Any) -> nn.Module:
        network = load(*args, **options)
        network.register_forward_hook(lambda module, given, out: tally(out))
        return network

    monkeypatch.setattr(loading, "_load", counting)
    return tally


def _of_what_is_built(monkeypatch: pytest.MonkeyPatch) -> Tally:
    """Counts the passes of all networks that are built from here on."""
    tally, build = Tally(), Architecture.build

    def counting(self: Architecture, *args: Any, **options: Any) -> nn.Module:
        network = build(self, *args, **options)
        network.register_forward_hook(lambda module, given, out: tally(out))
        return network

    monkeypatch.setattr(Architecture, "build", counting)
    return tally


def _only_within(
    tally: Tally, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> list[int]:
    """Passes within the calls of a function, each a number."""
    function: Callable[..., Any] = getattr(owner, name)
    found: list[int] = []

    def watched(*args: Any, **options: Any) -> Any:
        before = tally.passes
        try:
            return function(*args, **options)
        finally:
            found.append(tally.passes - before)

    monkeypatch.setattr(owner, name, watched)
    return found


@pytest.mark.parametrize(
    ("typed", "exact"),
    [
        ("linearity --model net", True),
        ("linearity --model net,other --multi i-fgsm(steps=3,early_stop=False)", True),
        ("gradient-norm --model net", True),
        ("curvature --model net --samples 4 --iterations 5", True),
        ("filters --model net,other", True),
        ("surface --model net --other other --points 5", True),
        ("subspace --model net --orders 1,4", True),
        ("discrepancy --model net --future other --networks net,other", True),
        ("margin --model net", False),
        ("convergence --model net", False),
        ("perceptual --model net", False),
    ],
)
def test_a_diagnosis_makes_the_passes_that_are_told(
    typed: str,
    exact: bool,
    runs: Path,
    tally: Tally,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "perceptual" in typed:
        pytest.importorskip("cv2")
    monkeypatch.chdir(runs)
    command = ["diagnose", *typed.split(), "--images", str(IMAGES)]
    found = _only_within(tally, monkeypatch, by_image._Chunks, "found")
    _, options = read(command)
    told = passes(f"diagnose {typed.split()[0]}", options)
    assert told is not None
    assert run([*command, "--quiet"]) == 0, capsys.readouterr().err
    assert told / 20 < sum(found) <= told
    assert not exact or sum(found) == told


@pytest.mark.parametrize(
    ("objective", "each"),
    [
        ("standard", 2),
        ("pgd(eps=0.1, steps=3)", 3 * 2 + 2),
        ("distillation(teacher='net')", 3),
        ("ensemble(eps=0.1, sources=['net', 'other'], replace=False)", 7),
        ("ensemble(eps=0.1, sources=['net'])", None),
        ("trades(eps=0.1, steps=2)", None),
        ("deep-defense", None),
        ("stability(sigma=0.3, gamma=1.0, at='first-layer')", None),
        ("adv-train-1(reference='net', cache='examples')", None),
    ],
)
def test_a_training_makes_the_passes_that_are_told_and_telling_leaves_no_trace(
    objective: str,
    each: int | None,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("net", "other"):
        (tmp_path / name).symlink_to(runs / name)
    monkeypatch.chdir(tmp_path)
    command = ["train", "--model", "small", "--epochs", "2", "--images", "64", "--batch-size", "32"]
    command += ["--objective", objective, "--out", "trained"]
    _, options = read(command)
    told = passes("train", options)
    assert told is not None
    if each is not None:
        assert told == 2 * 64 * each + 1  # one image is asked about beforehand
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net", "other"]

    tally = _of_what_is_built(monkeypatch)
    assert run([*command, "--quiet"]) == 0, capsys.readouterr().err
    made = tally.passes
    assert made <= told
    assert made == told if each is not None else made > told / 200


def test_what_is_not_there_yet_is_told_as_what_is_there(runs: Path) -> None:
    _, options = read(["train", "--model", "small", "--epochs", "3", "--out", "trained"])
    told = []
    for teacher in (str(runs / "net"), "not-there-yet"):
        options["objective"] = f"distillation(teacher='{teacher}')"
        told.append(passes("train", options))
    assert told == [3 * 1297 * 3 + 1] * 2
    _, options = read(["train", "--from", "net", "--out", "trained"])
    options["objective"] = "deep-defense(layer='1.1')"  # of a network that is normalised
    typed = ["train", "--model", "mlp", "--normalize", "true", "--out", "net"]
    assert passes("train", options, {"net": ("train", read(typed)[1])}) is not None
    assert passes("train", options) is None


def test_epochs_of_a_training_to_come_are_those_that_it_will_keep(runs: Path) -> None:
    _, there = read(["diagnose", "convergence", "--model", str(runs / "net"), "--images", "5"])
    _, to_come = read(["diagnose", "convergence", "--model", "soon", "--images", "5"])
    training = read(["train", "--model", "small", "--epochs", "2", "--out", "soon"])[1]
    told = passes("diagnose convergence", there)
    assert told is not None
    assert told == passes("diagnose convergence", to_come, {"soon": ("train", training)})
    assert passes("diagnose convergence", to_come) is None


def test_an_interval_is_two_passes() -> None:
    """Its centre and its radius, at each size, beside the image; of a training also back."""
    typed = ["diagnose", "ibp", "--model", "net", "--images", "12", "--eps", "0.01,0.02,0.03"]
    told = passes("diagnose ibp", read(typed)[1])
    assert told == (12 + 1) * (1 + 2 * 3)  # one image is looked at beforehand
    typed = ["train", "--model", "small", "--epochs", "2", "--images", "64", "--out", "net"]
    _, options = read([*typed, "--objective", "ibp(eps=0.1)"])
    assert passes("train", options) == 2 * 64 * (1 + 2) * 2 + 1


@pytest.mark.parametrize("attack", [None, "pgd(steps=3, early_stop=False)"])
def test_held_out_images_are_asked_and_attacked_after_every_epoch(
    attack: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ["train", "--model", "small", "--epochs", "2", "--images", "64", "--hold-out", "24"]
    typed += [] if attack is None else ["--val-attack", attack, "--val-eps", "0.1"]
    typed += ["--quiet", "--out", str(tmp_path / "net")]
    told = passes("train", read(typed)[1])
    each = 1 if attack is None else 1 + 3 * 2 + 1
    assert told == 2 * ((64 - 24) * 2 + 24 * each) + 1
    tally = _of_what_is_built(monkeypatch)
    assert run(typed) == 0
    assert tally.passes == told


def test_of_a_search_every_chain_is_attacked_before_the_finalists_are() -> None:
    typed = "tune malade --classifier net --denoiser dae --steps 1 --delta 0.1 --finalists 1"
    told = []
    for alphas in ("0.1", "0.1,0.2", "0.1,0.2,0.3"):
        _, options = read([*typed.split(), "--alpha", alphas, "--eps", "0.1", "--out", "tuned"])
        told.append(passes("tune malade", options))
    one, two, three = told
    assert two - one == three - two > 0


def test_passes_of_an_evaluation_are_the_most_that_are_made(runs: Path, tmp_path: Path) -> None:
    net, attacked = runs / "net", tmp_path / "attacked"
    told = ["evaluate", "--model", str(net), "--images", "20", "--eps", "0.01,0.3", "--quiet"]
    told += ["--attacks", "fgsm,pgd(steps=7),apgd(steps=10),deepfool", "--out", str(attacked)]
    assert run(told) == 0
    _, options = read(told)
    most = passes("evaluate", options)
    assert most is not None
    assert 0 < _recorded(attacked) <= most
    options["attacks"], options["eps"] = ("fgsm",), (0.01,)
    assert passes("evaluate", options) == 20 * 2
    options["attacks"], options["data"] = ("fgsm(gradient=finite_differences)",), "mnist"
    assert passes("evaluate", options) == 20 * (2 * 28 * 28 + 1)


def test_noise_in_front_calls_for_as_many_draws_as_are_told(runs: Path, tmp_path: Path) -> None:
    typed = ["evaluate", "--model", str(runs / "net"), "--images", "8", "--sigma", "0.1"]
    typed += ["--samples", "5", "--votes", "7", "--attack-all", "true", "--audit", "off"]
    typed += ["--attacks", "pgd(steps=4, early_stop=False)", "--quiet", "--out", str(tmp_path)]
    told = passes("evaluate", read(typed)[1])
    assert run(typed) == 0
    assert _recorded(tmp_path) == told == 8 * 4 * 5 * 2


def _recorded(folder: Path) -> int:
    cells = json.loads((folder / "run.json").read_text())["cells"]
    return sum(cell["forwards"] + cell["backwards"] for cell in cells)


@pytest.fixture(scope="module")
def malade(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Step], Path]:
    """The steps of a table about chains, run at the quick scale."""
    place = tmp_path_factory.mktemp("malade")
    name = "malade/table-1"
    assert run(["reproduce", name, "--scale", "quick", "--out", str(place), "--quiet"]) == 0
    return in_order(recipe(name).build(Scale("quick")).steps), place / "steps"


def test_a_search_and_what_attacks_its_chains_make_no_more_passes_than_told(
    malade: tuple[list[Step], Path],
) -> None:
    steps, root = malade
    known: dict[str, tuple[str, dict[str, Any]]] = {}
    for step in steps:
        _, options = read(step.arguments(root, None))
        elsewhere = read(step.arguments(Path("elsewhere"), None))[1]
        known[str(Path("elsewhere") / step.folder)] = step.command, elsewhere
        told = passes(step.command, elsewhere, known)
        assert told is not None, step.name
        if step.command != "train":
            assert told == passes(step.command, options), step.name  # with what is there
        if step.command == "evaluate":
            assert told / 50 < _recorded(root / step.folder) <= told, step.name
        if step.command == "tune malade":
            trials = (root / step.folder).glob("f*/*/run.json")
            made = sum(_recorded(trial.parent) for trial in trials)
            assert told / 20 < made <= told


def test_no_step_of_these_tables_has_a_question_mark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = ["eat/table-6", "eat/figure-1", "eat/figure-2", "malade/table-1", "malade/figure-2"]
    items += ["dd/table-1-mlp", "dd/table-2", "dd/figure-2", "dd/figure-4", "so/figure-2-left"]
    items += ["so/appendix-h", "so/equations-3-and-4", "eat/definition-4"]
    command = ["reproduce", *items, "--scale", "quick", "--out", str(tmp_path), "--dry-run"]
    assert run([*command, "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    words = {step["step"].split()[0] for step in steps}
    assert words == {"train", "evaluate", "diagnose", "tune"}
    assert all(step["passes"] > 0 for step in steps)
    assert run(command) == 0
    table = capsys.readouterr().out
    assert "?" not in table
    assert " 0 k" not in table


def test_boundary_asks_no_smoothed_model_about_no_image() -> None:
    """Where no start reaches another class, there is no image left to bring nearer."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    smoothed = named_noise("gaussian").around(network.eval(), 0.3, (1, 2, 2)).model.eval()
    attack = adaptive(Boundary(L2(1.0), queries=9), smoothed, samples=3)["plain"]
    x = torch.full((2, 1, 2, 2), 0.5)
    assert (attack(smoothed, x, torch.zeros(2, dtype=torch.long), seed=0) == x).all()
    assert passes_of(attack, (1, 2, 2)).most > 0


@pytest.mark.parametrize(
    ("attack", "most"),
    [
        (SaltAndPepper(L2(math.inf), queries=2000), 2000),
        (Square(L2(1.0), queries=1000, restarts=2), 2000),
        (OnMeanScore(Boundary(L2(1.0), queries=1500), samples=3), 4500),
    ],
)
def test_of_an_attack_by_thousands_of_queries_their_number_is_told(
    attack: Attack, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is tried, which would take seconds."""
    monkeypatch.setattr(type(attack), "perturb", None)
    assert passes_of(attack, (3, 32, 32)) == (most, False)


def test_every_size_is_told_the_passes_of_the_largest(runs: Path) -> None:
    typed = "evaluate --norm l2 --attacks deepfool,ddn(steps=7) --images 3 --out attacked --model"
    told = {}
    for sizes in ("3", "0.01,3", "0.01,0.1,3", "inf", "3,inf"):
        _, options = read([*typed.split(), str(runs / "net"), "--eps", sizes])
        told[sizes] = passes("evaluate", options)
    assert told["3"] is not None
    assert told["inf"] is not None
    assert told["0.01,3"] == 2 * told["3"]
    assert told["0.01,0.1,3"] == 3 * told["3"]
    assert told["3,inf"] == told["3"] + told["inf"]
