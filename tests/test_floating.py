"""Networks whose weights are of another floating-point type than the images."""

import warnings

import pytest
import torch
from torch import nn

from holdfast import EvaluationConfig, Linf, evaluate
from holdfast.attacks import PGD
from holdfast.certify import CertificationConfig, certify, certify_images
from holdfast.checks import Checked, rounding_of
from holdfast.defenses import GaussianNoise
from holdfast.diagnose import interval_bounds, predictions
from holdfast.errors import ModelError
from holdfast.floating import casting
from holdfast.goals import margin
from holdfast.models import Normalize
from holdfast.random import Stream, drawing_from, layer_noise
from holdfast.tensors import eval_mode
from tests.cases import ATTACKS, THREATS
from tests.toys import images, random_linear, small_network

OTHERS = (torch.float64, torch.float16, torch.bfloat16)
each_type = pytest.mark.parametrize("dtype", OTHERS, ids=str)

#: Attacks, each with a loop of its own.
EACH_KIND = ("PGD", "APGDT", "SecondOrder", "Square", "DeepFool", "FAB", "FMN", "SigmaZero")

SIZES = {"linf": 0.1, "l2": 0.5, "l1": 2.0, "l0": 4.0}


def example(dtype, count=4):
    model, x = small_network().to(dtype), images(count)
    return model, x, model(x.to(dtype)).argmax(dim=1)


@pytest.mark.parametrize("case", [case for case in ATTACKS if case.name in EACH_KIND], ids=str)
def test_what_an_attack_returns_has_the_type_of_what_it_was_given(case):
    model, x, y = example(torch.float64, 1)
    norm = case.norms[-1]
    assert case.make(THREATS[norm](SIZES[norm]))(model, x, y).dtype == torch.float32
    assert not any(layer._forward_pre_hooks for layer in model.modules())


@each_type
def test_they_are_evaluated(dtype):
    model, x, y = example(dtype)
    # All that looks at a model before and after is looked at in one of the types.
    config = (
        EvaluationConfig() if dtype == torch.float64 else EvaluationConfig(hidden=False, audit=0.0)
    )
    found = evaluate(model, x, y, {"pgd": PGD(Linf(0.3), steps=10)}, config=config)
    assert found.rows.loc[found.rows["attack"] == "clean", "prediction"].tolist() == y.tolist()
    assert found.rows.loc[found.rows["attack"] == "pgd", "fooled"].any()


@each_type
def test_they_are_certified_and_diagnosed(dtype):
    model, x, y = example(dtype)
    config = CertificationConfig(sigma=0.05, votes=40, audit=0.0)
    rows = certify(model, x, y, config=config).rows
    alone = certify_images(model, x, sigma=0.05, votes=40)
    assert rows["radius"].tolist() == alone.radius.tolist()
    assert (alone.radius > 0).any()
    behind = certify_images(model, x, sigma=0.05, votes=40, noise="first-layer")
    assert (behind.radius > 0).any()
    assert interval_bounds(model, x, y, Linf(0.0)).right.all()
    assert predictions({"model": model}, x)[0].tolist() == y.tolist()


@each_type
def test_images_of_other_types_meet_a_network_in_float32(dtype):
    model, x, _ = example(torch.float32)
    x = x.to(dtype)
    y = model(x.float()).argmax(dim=1)
    x_adv = PGD(Linf(0.3), steps=10)(model, x, y)
    assert x_adv.dtype == dtype
    assert (model(x_adv.float()).argmax(dim=1) != y).any()
    assert (Linf(0.3).distance(x_adv, x) <= 0.3).all()


def test_a_float64_network_keeps_its_digits():
    """Two logits that differ by what float32 cannot tell from nothing."""
    weight = torch.ones(2, 36, dtype=torch.float64)
    weight[1] += 1e-12
    linear = nn.Linear(36, 2, bias=False).double()
    linear.weight.data = weight
    model, x = nn.Sequential(nn.Flatten(), linear), torch.ones(3, 1, 6, 6)
    y = torch.zeros(3, dtype=torch.int64)
    with eval_mode(model):
        found = margin(model, x, y)(x)
    wanted = torch.full((3,), 36e-12, dtype=torch.float64)
    assert torch.allclose(found.value, wanted, rtol=1e-3)
    assert found.reached.all()


def test_rounding_is_that_of_the_coarser_of_images_and_answers():
    for dtype in OTHERS:
        model, x, _ = example(dtype)
        checked = Checked(model, dtype=x.dtype)
        with eval_mode(model):
            checked(x)
        coarsest = max(torch.finfo(kind).eps for kind in (dtype, torch.float32))
        assert rounding_of(checked, x) == coarsest


def test_noise_and_normalisation_in_front_are_not_rounded():
    """A certificate is about the noise that was added, and half precision knows few of it."""
    seen = []

    class Look(nn.Module):
        def forward(self, x):
            seen.append(x.dtype)
            return x

    front = nn.Sequential(GaussianNoise(0.1), Normalize([0.5], [0.5]), Look())
    model, x = nn.Sequential(front, small_network().half()), images(2)
    with eval_mode(model):
        assert model(x).dtype == torch.float16
    assert seen == [torch.float32]


class Noisy(nn.Module):
    """Draws, and counts its passes, before it meets its weights."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 36, dtype=torch.float64))

    def forward(self, x):
        return (x + layer_noise(x)).flatten(1) @ self.weight.T


def test_that_a_network_was_tried_first_leaves_no_trace():
    model, x, rng = Noisy(), images(4), Stream.of(0, torch.arange(4))
    with drawing_from(rng):
        wanted = model(x.double())
    state = torch.get_rng_state()
    with eval_mode(model), drawing_from(rng):
        found = model(x)
    assert torch.equal(found, wanted)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_that_takes_images_as_they_are_gets_them_so():
    model, x = random_linear(3, 36), images(2).double()  # its weights take the images' type
    with casting(model, images=x.dtype):
        assert model(x).dtype == torch.float64

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Parameter(torch.ones(36, dtype=torch.float64))
            self.second = nn.Linear(36, 3)

        def forward(self, x):
            return self.second(x.flatten(1) * self.first.float())

    mixed = Mixed()
    with casting(mixed, images=torch.float16):
        assert mixed(images(2)).dtype == torch.float32


def test_copies_in_another_type_cast_to_theirs():
    import copy

    model, x, _ = example(torch.float16)
    with casting(model, images=x.dtype):
        assert copy.deepcopy(model).double()(x).dtype == torch.float64


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch would rather have it forgotten
def test_what_is_compiled_by_torchscript_says_that_it_takes_no_other_type():
    model, x, y = example(torch.float64)
    with pytest.raises(ModelError, match="the model failed on images"):
        PGD(Linf(0.1))(torch.jit.script(model), x, y)
    assert PGD(Linf(0.1))(torch.jit.script(model), x.double(), y).dtype == torch.float64


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_evaluation_of_what_is_compiled_by_torchscript_warns_of_nothing():
    model, x = small_network(), images(12)
    y = model(x).argmax(dim=1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")  # torch's own are no errors, whatever the filter
        evaluate(torch.jit.script(model), x, y, [PGD(Linf(0.05), steps=3)])
    assert not [one for one in told if one.category is UserWarning]


@pytest.mark.parametrize("made", [torch.jit.script, lambda m: torch.jit.trace(m, images(1))])
@pytest.mark.filterwarnings("ignore")  # that TorchScript is deprecated
def test_what_torchscript_froze_is_refused_in_a_sentence(made, tmp_path):
    """Nothing is left of its mode."""
    model = torch.jit.freeze(made(small_network()))
    x, y = images(2), torch.tensor([0, 1])
    for call in (
        lambda: PGD(Linf(0.1))(model, x, y),
        lambda: evaluate(model, x, y, [PGD(Linf(0.1))], out=tmp_path / "run"),
        lambda: certify_images(model, x, sigma=0.1),
    ):
        with pytest.raises(ModelError, match=r"frozen by torch\.jit\.freeze"):
            call()
    assert not (tmp_path / "run").exists()
