"""The attacks that MALADE calls for, and a MALADE whose robustness is only masked gradients."""

import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from holdfast.attacks import (
    BPDA,
    FGSM,
    MIM,
    NES,
    PGD,
    Attack,
    Boundary,
    CarliniWagner,
    HopSkipJump,
    OnMeanScore,
    SaltAndPepper,
    Square,
    Worst,
    adapted,
    adaptive,
)
from holdfast.attacks.adaptive import VARIANTS
from holdfast.cli.main import run
from holdfast.data import Data
from holdfast.defenses import MALADE, Binarise, GaussianNoise
from holdfast.evaluation import EvaluationConfig, evaluate, evaluate_data
from holdfast.files import read_json
from holdfast.goals import Minus
from holdfast.models import Architecture
from holdfast.models.checkpoint import save_model
from holdfast.random import layer_uniform
from holdfast.report.page import build
from holdfast.report.subjects import read_subjects
from holdfast.report.tables import strongest_attacks
from holdfast.threat import L2, Linf
from holdfast.types import Threat
from tests.toys import Wrapped, images, small_network

PROTOCOL = EvaluationConfig(votes=5, samples=2)


def guarded(denoiser, **settings):
    layer = MALADE(denoiser, **{"steps": 3, "alpha": 0.04, "delta": 0.02, "sigma": 0.2} | settings)
    return nn.Sequential(layer, small_network()).eval()


def masked():
    """Nearly the identity, but its slope swings between -29 and 31 over a hundredth of a grey."""
    return guarded(Wrapped(lambda x: x + 0.01 * (3000 * x).sin()))


class TestWhatItCallsFor:
    def test_the_four_attacks_of_the_paper_and_through_the_chain(self):
        model = guarded(nn.Conv2d(1, 1, 3, padding=1))
        variants = adaptive(PGD(Linf(0.1)), model, samples=10)
        assert list(variants) == ["bpda", "bpda-eot", "plain", "r-bpda", "r"]
        assert [isinstance(v, BPDA) for v in variants.values()] == [True, True, False, True, False]
        inner = [getattr(v, "attack", v) for v in variants.values()]
        assert [attack.gradient.samples for attack in inner] == [1, 30, 10, 10, 10]
        for regularized in (variants["r"], variants["r-bpda"].attack):
            assert isinstance(regularized.goal, Minus)
            assert regularized.goal.penalty.reconstruct is model[0].denoiser

    def test_without_noise_nothing_is_averaged(self):
        model = guarded(nn.Conv2d(1, 1, 3, padding=1), delta=0.0)
        assert list(adaptive(PGD(Linf(0.1)), model)) == ["plain", "bpda", "r-bpda", "r"]

    def test_with_no_limit_the_one_that_knows_most(self):
        model = guarded(nn.Conv2d(1, 1, 3, padding=1))
        attack = adapted(CarliniWagner(L2(torch.inf), steps=2, searches=1), model)
        assert not isinstance(attack, Worst)

    @pytest.mark.parametrize(
        ("layers", "names"),
        [
            ([GaussianNoise(0.1)], {"plain"}),
            ([Binarise()], {"bpda"}),
            ([GaussianNoise(0.1), Binarise()], {"bpda", "bpda-eot"}),
        ],
    )
    def test_what_the_other_defences_call_for(self, layers, names):
        model = nn.Sequential(*layers, small_network()).eval()
        assert set(adaptive(PGD(Linf(0.1)), model)) == names


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The masked model under PGD, each variant on every image and as one cascade."""
    model, x = masked(), images(12)
    data = Data.of(x, small_network()(x).argmax(dim=1))
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for each in (True, False):
        config = EvaluationConfig(votes=5, samples=2, each=each)
        attacks = [("pgd", PGD(Linf(0.2), steps=5))]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "pgd, (plain|r) linf 0.2: left 12 of the 12 images")
            found[each] = evaluate_data(model, data, attacks, config, "masked", folder / str(each))
    return found, folder


class TestAPlantedWeakness:
    def test_plain_pgd_is_blinded_and_the_adaptive_set_finds_it(self, evaluated):
        cells = {cell["attack"]: cell for cell in evaluated[0][True].cells}
        assert set(cells) == {f"pgd, {name}" for name in VARIANTS}
        assert cells["pgd, plain"]["clean_accuracy"] > 0.9
        assert cells["pgd, plain"]["robust_accuracy"] > 0.9
        assert cells["pgd, bpda"]["robust_accuracy"] < 0.2
        assert cells["pgd, bpda-eot"]["robust_accuracy"] < 0.2

    def test_without_being_asked(self, evaluated):
        (cell,) = evaluated[0][False].cells
        assert cell["robust_accuracy"] < 0.2
        assert list(cell["broken_by"]) == ["bpda", "bpda-eot", "plain", "r-bpda", "r"]
        assert cell["broken_by"]["bpda"] > 9
        rows = evaluated[0][False].rows
        fooled = rows[(rows["attack"] == "pgd") & rows["fooled"]]["by"].value_counts()
        assert fooled["bpda"] == cell["broken_by"]["bpda"]

    def test_the_report_says_which_was_strongest(self, evaluated):
        folder = evaluated[1]
        (alone,) = strongest_attacks(read_subjects([folder / "True"])[0].classifiers[0])
        assert alone.attack in ("pgd, bpda", "pgd, bpda-eot")
        assert alone.others[-1][0] in ("pgd, plain", "pgd, r")
        left = [alone.robust_accuracy, *(accuracy for _, accuracy in alone.others)]
        assert left == sorted(left)
        assert left[-1] > 0.9
        assert (alone.eps, alone.parts) == (0.2, {})
        (cascade,) = strongest_attacks(read_subjects([folder / "False"])[0].classifiers[0])
        assert (cascade.attack, cascade.others) == ("pgd", [])
        assert cascade.parts["bpda"] > 9


class TestVariantsByRequest:
    def evaluated(self, only, each=False):
        model, x = masked(), images(6)
        config = EvaluationConfig(votes=5, samples=2, each=each, variants=only)
        y = small_network()(x).argmax(dim=1)
        return evaluate(model, x, y, {"pgd": PGD(Linf(0.2), steps=3)}, config=config)

    def test_no_others_are_run_and_what_was_left_out_is_said(self):
        with pytest.warns(UserWarning, match="bpda-eot, r-bpda, r: .* left out"):
            (cell,) = self.evaluated(("bpda", "plain")).cells
        assert list(cell["broken_by"]) == ["bpda", "plain"]
        with pytest.warns(UserWarning, match="bpda, bpda-eot, plain, r-bpda: .* left out"):
            (cell,) = self.evaluated(("r",), each=True).cells
        assert cell["attack"] == "pgd, r"

    def test_r_at_several_weights(self):
        """Each a variant and a line of its own; "r" means all, with its weight one of them."""
        model, x = masked(), images(6)
        y = small_network()(x).argmax(dim=1)

        def lines(*only, penalties=(0.1, 10.0)):
            config = EvaluationConfig(
                votes=5, samples=1, each=True, variants=only, penalties=penalties
            )
            with pytest.warns(UserWarning, match="left out"):
                found = evaluate(model, x, y, {"pgd": PGD(Linf(0.2), steps=2)}, config=config)
            return [cell["attack"] for cell in found.cells]

        assert lines("r") == ["pgd, r(0.1)", "pgd, r(10.0)"]
        assert lines("r-bpda") == ["pgd, r-bpda(0.1)", "pgd, r-bpda(10.0)"]
        assert lines("r(10.0)", "bpda") == ["pgd, bpda", "pgd, r(10.0)"]
        assert lines("r", penalties=(1.0,)) == ["pgd, r"]

    def test_one_penalty_of_1_is_recorded_as_before_there_were_several(self):
        assert "penalties" not in EvaluationConfig().record()
        assert EvaluationConfig(penalties=(0.1, 1.0)).record()["penalties"] == [0.1, 1.0]

    def test_all_of_them_leave_nothing_to_say(self):
        (cell,) = self.evaluated(VARIANTS).cells  # warnings are errors
        assert len(cell["broken_by"]) == len(VARIANTS)

    def test_the_report_says_so_too(self, tmp_path):
        model, x = masked(), images(4)
        y = small_network()(x).argmax(dim=1)
        config = EvaluationConfig(votes=5, samples=1, variants=("bpda",))
        with pytest.warns(UserWarning, match="left out"):
            evaluate(model, x, y, {"fgsm": FGSM(Linf(0.1))}, config=config, out=tmp_path / "run")
        page = build([tmp_path / "run"], tmp_path / "report").read_text()
        assert "bpda-eot, plain, r-bpda, r: the model calls for these variants" in page

    def test_an_attack_without_gradients_has_but_one(self):
        model = guarded(nn.Conv2d(1, 1, 3, padding=1))
        assert isinstance(adapted(Square(Linf(0.1)), model, only=("bpda",)), OnMeanScore)

    def test_names_that_mean_nothing(self):
        with pytest.raises(LookupError, match=r"did you mean 'bpda'"):
            self.evaluated(("bdpa",))
        with pytest.raises(ValueError, match="calls for none"):
            self.evaluated(("r-2",))


class Coin(nn.Module):
    """Answers 1 with a chance that the first pixel decides, and 0 otherwise."""

    stochastic = True

    def __init__(self, chance):
        super().__init__()
        self.chance = chance
        self.eval()

    def forward(self, x):
        pixel = x.flatten(1)[:, :1]
        one = (layer_uniform(pixel) < self.chance(pixel)).to(x.dtype)
        return torch.cat([0.5 + 0 * pixel, one + 0 * pixel], dim=1)


LEANS = Coin(lambda pixel: pixel)
#: 1 by mistake once in 20 draws, and always where the first pixel is above 0.5.
ERRS = Coin(lambda pixel: torch.where(pixel > 0.5, 1.0, 0.05))


@dataclass(frozen=True, kw_only=True)
class Sets(Attack):
    """Every pixel to one value."""

    threat: Threat
    value: float

    def perturb(self, model, x0, y, rng, callback=None):
        del model, y, rng, callback
        return torch.full_like(x0, self.value)


def test_one_chain_for_each_prediction_and_yet_luck_does_not_end_the_cascade():
    """Image one fools 3 draws in 10, the other 9: a single draw would often stop at the first."""
    parts = tuple(Sets(threat=Linf(1.0), value=value) for value in (0.3, 0.9))
    x, y = torch.zeros(300, 1, 1, 1), torch.zeros(300, dtype=torch.int64)
    found = evaluate(
        LEANS, x, y, {"both": Worst(parts)}, config=EvaluationConfig(votes=1, hidden=False)
    )
    assert found.cells[0]["robust_accuracy"] < 0.2  # 0.1, but 0.28 by single draws
    assert found.cells[0]["broken_by"][repr(parts[1])] > 250


def test_a_purifier_that_forgets_to_say_that_it_draws_is_attacked_all_the_same():
    class Forgetful(nn.Module):
        purifies = True

        def forward(self, x):
            return x + 0.05 * torch.randn_like(x)

    model = nn.Sequential(Forgetful(), small_network()).eval()
    x = images(3)
    y = small_network()(x).argmax(dim=1)
    config = EvaluationConfig(votes=5, samples=2, each=True)
    with pytest.warns(
        UserWarning, match="draws random numbers without declaring it"
    ):  # and of nothing else
        cells = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.05))}, config=config).cells
    named = [cell["attack"] for cell in cells]
    assert named == ["fgsm, bpda", "fgsm, bpda-eot", "fgsm, plain", "fgsm, r"]


@pytest.mark.parametrize(
    "attack",
    [
        SaltAndPepper(L2(torch.inf), queries=40),
        Boundary(L2(torch.inf), queries=60),
        HopSkipJump(L2(torch.inf), queries=60, evaluations=5),
    ],
)
def test_what_sees_answers_alone_is_not_deceived_by_luck(attack):
    x, y = torch.zeros(20, 1, 1, 2), torch.zeros(20, dtype=torch.int64)
    alone = attack(ERRS, x, y)
    assert (alone[:, 0, 0, 0] <= 0.5).float().mean() > 0.3  # kept what luck had fooled
    (found,) = adaptive(attack, ERRS, samples=9).values()
    assert isinstance(found, OnMeanScore)
    assert (found(ERRS, x, y)[:, 0, 0, 0] > 0.5).float().mean() > 0.9


@pytest.mark.parametrize(
    "attack",
    [Square(Linf(0.1)), SaltAndPepper(L2(1.0)), Boundary(L2(1.0)), NES(Linf(0.1), steps=2)],
)
def test_an_attack_without_gradients_is_not_run_once_for_each_of_them(attack):
    for model in (guarded(nn.Conv2d(1, 1, 3, padding=1)), nn.Sequential(Binarise())):
        assert list(adaptive(attack, model.eval())) == ["plain"]
    cascade = Worst((attack, MIM(attack.threat, steps=2)))
    assert len(adapted(cascade, guarded(nn.Conv2d(1, 1, 3, padding=1))).attacks) == 1 + len(
        VARIANTS
    )


def test_without_a_limit_every_variant_has_its_own_line():
    model, x = masked(), images(4)
    y = small_network()(x).argmax(dim=1)
    attack = CarliniWagner(L2(torch.inf), steps=3, searches=1)
    cells = evaluate(model, x, y, {"cw": attack}, config=PROTOCOL).cells
    assert {"cw, bpda", "cw, bpda-eot", "cw, plain"} <= {cell["attack"] for cell in cells}


def test_the_result_does_not_depend_on_the_batch():
    model, x = guarded(nn.Conv2d(1, 1, 3, padding=1)), images(4)
    y = small_network()(x).argmax(dim=1)
    attack = adapted(MIM(Linf(0.1), steps=3), model, samples=2, votes=5)
    whole = attack(model, x, y)
    part = attack(model, x[2:], y[2:], index=torch.tensor([2, 3]))
    assert torch.allclose(part, whole[2:], atol=1e-6)


def test_through_the_chain_and_without_checkpointing_the_attack_is_the_same():
    x, y = images(3), torch.tensor([0, 1, 2])
    denoiser, attack = nn.Conv2d(1, 1, 3, padding=1), {"pgd": PGD(Linf(0.1), steps=3)}
    one, two = (
        evaluate(guarded(denoiser, checkpointing=c), x, y, attack, config=PROTOCOL).rows
        for c in (True, False)
    )
    assert one.equals(two)


def test_binarised_pixels_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made = Architecture(name="small", shape=(1, 8, 8), classes=10)
    save_model(tmp_path / "net.safetensors", made.build(), made)
    command = ["evaluate", "--images", "4", "--quiet", "--attacks", "fgsm", "--model"]
    binarised = "binarise(threshold=0.5) | net.safetensors"
    assert run([*command, binarised, "--out", "run"]) == 0
    assert "BPDA" in read_json(tmp_path / "run" / "run.json")["settings"]["attacks"][0]["attack"]
    assert run([*command, "net.safetensors", "--out", "bare"]) == 0
    subjects = read_subjects([tmp_path / "run", tmp_path / "bare"])
    assert [subject.name for subject in subjects] == [
        binarised,
        "net.safetensors",
    ]
    assert run([*command, "binarise(threshold=1.5) | net.safetensors"]) == 2
    assert "threshold" in capsys.readouterr().err
