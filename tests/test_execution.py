"""Attacks by faster passes: what counts is what the model itself answers."""

import copy
import pickle

import pandas as pd
import pytest
import torch
from torch import nn

from holdfast import L2, EvaluationConfig, Linf, evaluate, execution
from holdfast.attacks import DDN, PGD, DeepFool, Worst
from holdfast.counting import Counted, backwards_at_once
from holdfast.defenses import Binarise, GaussianNoise
from holdfast.execution import Execution
from holdfast.gradients import Forward
from holdfast.results import read_about, read_images
from holdfast.tensors import fingerprint
from tests.toys import images, small_network

COUNT = 12


class Convolutions(nn.Sequential):
    def __init__(self) -> None:
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1)]
        super().__init__(*layers, nn.Flatten(), nn.LazyLinear(3))
        self.eval()(images(1))


class Planted(nn.Module):
    """In bf16 another class always wins."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_network()
        self.eval()

    def forward(self, x):
        logits = self.network(x)
        return logits.roll(1, dims=1) if logits.dtype == torch.bfloat16 else logits


def evaluated(model, attack, out=None, count=COUNT, audit=0, **config):
    x = images(count)
    y = model(x).argmax(dim=1)
    settings = EvaluationConfig(audit=audit, hidden=False, **config)
    return evaluate(model, x, y, attack, config=settings, out=out)


def attacked(result):
    return result.rows[result.rows["attack"] != "clean"]


class TestPrecision:
    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    @pytest.mark.parametrize(
        "attack",
        [
            PGD(Linf(0.1), steps=3),
            DDN(L2(1.0), steps=5),
            Worst((PGD(Linf(0.05), steps=2), PGD(Linf(0.05), steps=4))),
        ],
        ids=["pgd", "ddn", "worst"],
    )
    def test_budgets_hold_success_is_the_models_and_a_seed_gives_its_rows(
        self, precision, attack, tmp_path
    ):
        model = small_network()
        first = evaluated(model, [attack], tmp_path, precision=precision, keep_images=COUNT)
        rows = attacked(first)
        assert (rows[attack.threat.name] <= attack.threat.eps * (1 + 1e-6)).all()
        x_adv = read_images(tmp_path, 1)["x_adv"]
        assert (rows["prediction"].to_numpy() == model(x_adv).argmax(dim=1).numpy()).all()
        assert read_about(tmp_path)["settings"]["precision"] == precision
        same = evaluated(model, [attack], precision=precision)
        pd.testing.assert_frame_equal(rows, attacked(same), check_exact=True)

    def test_what_fools_in_bf16_alone_is_attacked_again(self):
        """Without it every attack would be over at once here, and all images be called robust."""
        model, attack = Planted(), PGD(Linf(0.3), steps=20)
        own = attacked(evaluated(model.network, [attack]))
        assert own["fooled"].any()
        rows = attacked(evaluated(model, [attack], precision="bf16"))
        assert (rows["fooled"].to_numpy() == own["fooled"].to_numpy()).all()
        more = rows["forwards"].to_numpy() - own["forwards"].to_numpy()
        assert (more >= 0).all()
        assert more.sum() > COUNT // 2

    def test_passes_in_bf16_count_as_passes(self):
        attack = PGD(Linf(0.0), steps=4)  # nothing falls
        rows = [
            attacked(evaluated(small_network(), [attack], precision=p)) for p in ("float32", "bf16")
        ]
        for name in ("forwards", "backwards"):
            assert rows[0][name].equals(rows[1][name])

    def test_a_record_without_it_is_what_it_was(self):
        assert not {"precision", "compile", "channels_last"} & {*EvaluationConfig().record()}
        assert EvaluationConfig(precision="bf16").record()["precision"] == "bf16"


class TestCompile:
    @pytest.fixture(autouse=True)
    def _captured(self, monkeypatch):
        """The graph is taken and differentiated, and not made machine code of, which is slow."""
        monkeypatch.setattr(execution, "_BACKEND", "aot_eager")

    def test_gradients_are_those_of_the_network(self):
        model, x = Convolutions(), images(COUNT)
        with Execution(compile=True).of(model) as quick:
            for count in (5, COUNT):
                both = [_gradient(one, x[:count]) for one in (quick, model)]
                assert torch.allclose(*both, rtol=1e-4, atol=1e-6)
            assert quick._compiled is not None
            assert not quick._fails

    @pytest.mark.filterwarnings("ignore:.*left 12 of")
    def test_rows_are_those_of_the_network(self):
        attacks = [PGD(Linf(0.5), steps=3), DeepFool(L2(9.0), steps=3)]
        rows = [
            attacked(evaluated(Convolutions(), attacks, compile=compiled))
            for compiled in (True, False)
        ]
        assert rows[0]["fooled"].equals(rows[1]["fooled"])

    def test_several_gradients_at_once_are_taken_of_the_network(self):
        model, x = Convolutions(), images(4)
        with Execution(compile=True).of(model) as quick:
            quick(x)
            assert torch.allclose(Forward(quick, x).gradients(), Forward(model, x).gradients())
            with backwards_at_once():
                quick(x)

    def test_where_nothing_compiles_passes_are_made_all_the_same(self, monkeypatch):
        def failing(*_, **__):
            raise RuntimeError("no compiler.\nand more")

        monkeypatch.setattr(torch, "compile", failing)
        model, x = small_network(), images(COUNT)
        with Execution(compile=True).of(model) as quick:
            with pytest.warns(UserWarning, match=r"was not compiled.*RuntimeError, no compiler\.$"):
                assert torch.equal(quick(x), model(x))
            assert torch.equal(quick(x), model(x))  # and without another word

    def test_what_is_the_networks_own_fault_is_raised(self):
        class Broken(nn.Module):
            def forward(self, x):
                raise KeyError("mine")

        with Execution(compile=True).of(Broken()) as quick, pytest.raises(KeyError, match="mine"):
            quick(images(2))

    def test_want_of_memory_is_told_to_who_halves_batches(self, monkeypatch):
        def full(*_, **__):
            raise torch.OutOfMemoryError("CUDA out of memory.")

        monkeypatch.setattr(torch, "compile", full)
        with (
            Execution(compile=True).of(small_network()) as quick,
            pytest.raises(torch.OutOfMemoryError),
        ):
            quick(images(2))

    @pytest.mark.parametrize(
        ("layer", "why"),
        [(GaussianNoise(0.1), "draws random numbers"), (Binarise(), "attacks must go round")],
    )
    def test_what_must_be_gone_round_is_not_compiled(self, layer, why):
        model = nn.Sequential(layer, small_network()).eval()
        with pytest.warns(UserWarning, match=why):
            evaluated(model, [PGD(Linf(0.1), steps=1)], compile=True, votes=2, samples=1)

    def test_a_copy_compiles_for_itself(self):
        with Execution(compile=True).of(small_network()) as quick:
            quick(images(2))
            twins = copy.deepcopy(quick), pickle.loads(pickle.dumps(quick))
            for twin in twins:
                assert twin._compiled is None
                assert torch.allclose(twin(images(2)), quick(images(2)))

    def test_of_many_networks_each_is_compiled(self, monkeypatch):
        """Also after the 8 that torch.compile keeps of one code."""
        compiled = []

        def counting(graph, _):
            compiled.append(graph)
            return graph

        monkeypatch.setattr(execution, "_BACKEND", counting)
        for depth in range(1, 11):
            model = nn.Sequential(*[nn.Flatten()] * depth).eval()
            with Execution(compile=True).of(model) as quick:
                quick(images(2))
            assert len(compiled) == depth

    def test_of_few_sizes_there_are_few_graphs(self):
        sizes = {len(execution._padded(images(count))) for count in range(1, 13)}
        assert sizes == {1, 2, 4, 8, 16}
        assert torch.equal(execution._padded(images(5))[:5], images(5))


class TestChannelsLast:
    def test_it_is_the_network_up_to_rounding_and_only_for_the_time(self):
        model, x = Convolutions(), images(COUNT)
        before, strides = fingerprint(model), [p.stride() for p in model.parameters()]
        own = _gradient(model, x)
        with Execution(channels_last=True).of(model) as quick:
            assert model[3].weight.is_contiguous(memory_format=torch.channels_last)
            assert fingerprint(model) == before
            assert torch.allclose(_gradient(quick, x), own, rtol=1e-4, atol=1e-6)
        assert [p.stride() for p in model.parameters()] == strides
        assert fingerprint(model) == before

    @pytest.mark.filterwarnings("ignore:.*left 12 of")
    def test_every_kind_of_attack_runs_on_it(self):
        attacks = [PGD(Linf(0.5), steps=5), DeepFool(L2(9.0), steps=2), DDN(L2(9.0), steps=9)]
        rows = [
            attacked(evaluated(Convolutions(), attacks, channels_last=last))
            for last in (True, False)
        ]
        assert rows[0]["fooled"].equals(rows[1]["fooled"])


def test_the_layers_of_a_network_declare_what_they_did():
    noisy = nn.Sequential(GaussianNoise(0.1), small_network()).eval()
    with Execution(precision="bf16").of(noisy) as quick:
        assert any(getattr(layer, "stochastic", False) for layer in quick.modules())
        counted = Counted(quick, torch.arange(4))
        assert counted(images(4)).dtype == torch.bfloat16


def _gradient(model, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).square().sum(), x)[0]
