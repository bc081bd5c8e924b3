"""Functions and other libraries' attacks, held to what an attack may do."""

import json
import re
import sys

import pytest
import torch
from torch import nn

from holdfast import L2, EvaluationConfig, Linf, evaluate
from holdfast.attacks import FGSM, PGD, Guarded, Square, Worst, adapted
from holdfast.attacks.external.names import LIBRARIES, library_attack
from holdfast.cli import registry
from holdfast.cli.main import run
from holdfast.defenses import Binarise, GaussianNoise
from holdfast.errors import AttackError, InputError, UnknownNameError
from holdfast.results import read_about
from tests.toys import images, small_network

EPS = 0.05


@pytest.fixture
def given():
    model, x = small_network(seed=0), images(10)
    return model, x, model(x).argmax(dim=1)


def fgsm(model, x, y):
    return FGSM(Linf(EPS))(model, x, y)


def test_a_function_is_scored_like_the_attack_that_it_is(given):
    model, x, y = given
    own = evaluate(model, x, y, {"a": FGSM(Linf(EPS))})
    same = evaluate(model, x, y, {"a": Guarded(Linf(EPS), fgsm)})
    columns = [c for c in own.rows if c != "blind"]
    assert own.rows[columns].equals(same.rows[columns])
    assert same.warnings == []
    assert Worst((Guarded(Linf(EPS), fgsm), Square(Linf(EPS), queries=5)))(model, x, y).shape


class Changed(nn.Module):
    """Weights, and a buffer that batch normalisation would write to."""

    def __init__(self):
        super().__init__()
        self.body = small_network()
        self.norm = nn.BatchNorm2d(1)
        self.eval()

    def forward(self, x):
        return self.body(self.norm(x))


def in_place(model, x, y):
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    return x


def through_data(model, x, y):
    next(model.parameters()).data.add_(1.0)
    return x


def in_training_mode(model, x, y):
    model.train()
    model(x)
    return x


def raises(model, x, y):
    raise KeyError("steps")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda model, x, y: x[:1], r"returned shape \(1, 1, 6, 6\)"),
        (lambda model, x, y: x.flatten(1), r"of the images, \(10, 1, 6, 6\)"),
        (lambda model, x, y: None, "returned a NoneType"),
        (lambda model, x, y: (x, y), "returned a tuple"),
        (raises, "KeyError: 'steps'"),
        (in_place, "changed the model"),
        (through_data, "changed the model"),
        (in_training_mode, "changed the model"),
    ],
)
def test_what_cannot_be_mended_is_an_error(given, function, words):
    _, x, _ = given
    model = Changed()
    y = model(x).argmax(dim=1)
    with pytest.raises(AttackError, match=words):
        Guarded(Linf(EPS), function)(model, x, y)
    assert not any(layer.training for layer in model.modules())
    with pytest.raises(TypeError):
        Guarded(Linf(EPS), 3)


def test_the_gradients_of_the_model_are_left_as_they_were(given):
    model, x, y = given

    def careless(model, x, y):
        nn.functional.cross_entropy(model(x), y).backward()
        model.requires_grad_(False)
        return x

    Guarded(Linf(EPS), careless)(model, x, y)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("threat", [Linf(EPS), L2(EPS)])
def test_images_that_left_the_ball_are_projected_and_counted(given, tmp_path, threat):
    model, x, y = given

    def far(model, x, y):
        return torch.where(torch.arange(len(x))[:, None, None, None] % 2 == 0, x + 2, x)

    attack = {"far": Guarded(threat, far)}
    with pytest.warns(UserWarning, match="projected"):
        found = evaluate(
            model, x, y, attack, out=tmp_path / "run", config=EvaluationConfig(batch_size=4)
        )
    rows = found.rows.query("attack == 'far'")
    assert (rows[threat.name] <= EPS * (1 + 1e-6)).all()
    (told,) = found.warnings
    assert "(5 of 10 images)" in told
    assert "projected" in told
    assert read_about(tmp_path / "run")["warnings"] == [told]


def test_nan_leaves_an_image_as_it_was_and_is_counted(given):
    model, x, y = given

    def broken(model, x, y):
        x = x + EPS / 2
        x[0, 0, 0, 0] = float("nan")
        return x.clamp(0, 1)

    with pytest.warns(UserWarning, match="NaN"):
        found = evaluate(model, x, y, {"broken": Guarded(Linf(EPS), broken)})
    rows = found.rows.query("attack == 'broken'")
    assert rows["linf"].iloc[0] == 0
    assert (rows["linf"].iloc[1:] > 0).all()
    assert "NaN" in found.warnings[0]
    assert "(1 of 10 images)" in found.warnings[0]


def test_a_function_is_told_what_the_model_calls_for(given):
    """EOT averages what it sees, and BPDA gives it a gradient."""
    _, x, _ = given
    net = small_network(seed=0)
    noisy = nn.Sequential(GaussianNoise(0.1), net)
    seen = []

    def look(model, x, y):
        seen.append([model(x).detach() for _ in range(2)])
        return x

    averaged = adapted(Guarded(Linf(EPS), look), noisy, samples=64)
    averaged(noisy, x, net(x).argmax(1))
    (one, other) = seen.pop()
    assert 0 < (one - other).abs().max() < 0.3
    assert torch.allclose(one.exp().sum(dim=1), torch.ones(len(x)), atol=1e-5)
    binary = nn.Sequential(Binarise(), net)
    hidden = adapted(Guarded(Linf(0.5), lambda m, x, y: PGD(Linf(0.5))(m, x, y)), binary)
    y = binary(x).argmax(dim=1)
    assert (binary(hidden(binary, x, y)).argmax(dim=1) != y).any()


def test_another_source_is_another_attack(given):
    def one(model, x, y):
        return x

    def other(model, x, y):
        return x.clone()

    made = [Guarded(Linf(EPS), f, name="mine") for f in (one, other)]
    assert repr(made[0]) != repr(made[1])
    assert "'mine'" in repr(made[0])


@pytest.mark.parametrize(
    ("spec", "norm"),
    [
        ("foolbox/LinfPGD(steps=3)", "linf"),
        ("foolbox/L2PGD(steps=3)", "l2"),
        ("torchattacks/PGD(steps=3, alpha=0.02)", "linf"),
        ("torchattacks/APGDT(steps=2)", "l2"),
        ("art/ProjectedGradientDescent(max_iter=3, eps_step=0.02)", "linf"),
        ("art/FastGradientMethod", "l2"),
        ("adv-lib/pgd_linf(steps=40)", "linf"),
        ("adv-lib/apgd(n_iter=3)", "l2"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_attacks_of_other_libraries_by_name(given, spec, norm):
    name = spec.partition("/")[0]
    pytest.importorskip(LIBRARIES[name].module.partition(".")[0])
    model, x, y = given
    attack = registry.attack(spec, registry.threat(norm, {"linf": 0.2, "l2": 2.0}[norm]))
    found = evaluate(model, x, y, {spec: attack})
    (cell,) = found.cells
    assert cell["robust_accuracy"] < 1
    assert cell["forwards"] > 0
    assert "noted" not in cell
    with pytest.raises(InputError, match=r"eps|leave"):  # foolbox' attacks are made without one
        library_attack(f"{spec.partition('(')[0]}(eps=0.3)", attack.threat)
    with pytest.raises(InputError, match=f"{name} cannot make .*nonsense"):
        library_attack(f"{spec.partition('(')[0]}(nonsense=1)", attack.threat)
    with pytest.raises(UnknownNameError, match=f"unknown attack of {name}"):
        library_attack(f"{name}/Nothing", Linf(0.2))


def code(*arguments):
    try:
        return run([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


def test_a_function_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hers.py").write_text(
        "import torch\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()\n"
        "def attack(model, x, y, eps, scale=1.0):\n"
        "    return (x + scale * eps).clamp(0, 1)\n"
        "def short(model, x, y): return x[:1]\n"
        "three = 3\n"
    )
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    command = ("evaluate", "--model", "hers:net", "--images", "20", "--quiet", "--eps", "0.1,0.2")
    assert code(*command, "--attacks", "hers:attack,hers:attack(scale=0.5)", "--json") == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [cell["attack"] for cell in cells] == ["hers:attack"] * 2 + [
        "hers:attack(scale=0.5)"
    ] * 2
    assert all(cell["forwards"] == 0 for cell in cells)
    for spec, words in (
        ("hers:attack(size=2)", "does not take"),
        ("hers:nothing", "no 'nothing'"),
        ("hers:three", "must be|is a function"),
        ("hers:short", "returned shape"),
        ("nowhere:attack", "modules are looked for in"),
    ):
        assert code(*command, "--attacks", spec, "--out", "run") == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert re.search(words, told)
        assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore")
def test_torchattacks_says_nothing_of_a_network_without_weights(given, capsys):
    pytest.importorskip("torchattacks")
    _, x, y = given
    library_attack("torchattacks/FGSM", Linf(0.2))(nn.Flatten(), x, y)
    assert not capsys.readouterr().out
