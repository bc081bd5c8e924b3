"""The number of threads is a rule of the networks and the images, and it is put back.

The machine's own number never matters here: PyTorch's is a stand-in.
"""

import os

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from holdfast import evaluate
from holdfast.attacks import FGSM, On
from holdfast.certify.config import CertificationConfig
from holdfast.certify.images import certify_images
from holdfast.certify.run import certify_data
from holdfast.data import Data
from holdfast.models import Architecture
from holdfast.processes import Processes
from holdfast.progress import Progress
from holdfast.results import read_about
from holdfast.threads import SMALL, multiply_adds, suited_threads
from holdfast.threat import Linf
from holdfast.training import Schedule, Standard, distill, fit, substitute, train_data
from holdfast.training.precomputed import precompute
from tests.toys import images, small_network

SHAPE = (1, 6, 6)


class Heard(Progress):
    def __init__(self):
        self.said = []

    def announce(self, text):
        self.said.append(text)


@pytest.fixture
def threads(monkeypatch):
    """A machine of eight cores on which nobody has chosen; the list ends with the number now."""
    history = [8]
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: history[-1])
    monkeypatch.setattr(torch, "set_num_threads", history.append)
    return history


def large():
    """One product that alone is beyond small."""
    return nn.Sequential(nn.Flatten(), nn.Linear(36, SMALL // 36 + 1))


def test_multiply_adds_in_closed_form():
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(27, 5)
    ).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    assert multiply_adds(model, SHAPE) == 9 * 3 * 3 * 3 + 27 * 5
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_cannot_be_counted():
    assert multiply_adds(nn.Flatten(), SHAPE) is None
    assert multiply_adds(nn.Linear(7, 2), SHAPE) is None  # it raises on such images


def test_a_small_network_runs_on_one_thread_and_says_so(threads):
    heard = Heard()

    def interrupted():
        with suited_threads(SHAPE, small_network(), progress=heard):
            assert threads[-1] == 1
            with suited_threads(SHAPE, small_network(), progress=heard):
                assert threads[-1] == 1  # what is chosen already is not said again
            assert threads[-1] == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert threads[-1] == 8
    (said,) = heard.said
    assert "one thread of 8" in said
    assert "OMP_NUM_THREADS" in said


@pytest.mark.parametrize("models", [(large,), (small_network, large), (nn.Flatten,)])
def test_other_networks_keep_all_threads(threads, models):
    with suited_threads(SHAPE, *(make() for make in models)):
        pass
    assert threads == [8]


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_the_environment_is_respected(threads, monkeypatch, name):
    monkeypatch.setenv(name, "8")
    with suited_threads(SHAPE, small_network()):
        assert threads == [8]


@pytest.mark.parametrize(("now", "chosen"), [(3, False), (4, True), (8, True)])
def test_a_number_that_is_not_the_machine_s_is_the_user_s(threads, now, chosen):
    threads[:] = [now]  # 4 is what PyTorch begins with where two of 8 share a core
    with suited_threads(SHAPE, small_network()):
        assert threads[-1] == (1 if chosen else now)


def test_elsewhere_than_on_the_cpu_it_plays_no_part(threads):
    with suited_threads(SHAPE, small_network(), device=torch.device("meta")):
        assert threads == [8]


def on_its_own(data, network, out):
    evaluate(network, data.x(torch.arange(len(data))), data.y, [FGSM(Linf(0.1))], out=out)


def certified(data, network, out):
    how = CertificationConfig(sigma=0.1, votes=10)
    certify_data(network, data, how, "m", out)


def trained(data, network, out):
    del network
    architecture = Architecture(name="mlp", shape=SHAPE, classes=4)
    train_data(architecture, data, Standard(), Schedule(epochs=1, batch_size=4), out)


def precomputed(data, network, out):
    precompute(FGSM(Linf(0.1)), network, data, out=out)


@pytest.mark.parametrize("work", [on_its_own, certified, trained, precomputed])
def test_every_run_records_its_number(threads, tmp_path, work):
    x = images(8, SHAPE)
    network = small_network()
    work(Data.of(x, network(x).argmax(dim=1)), network, tmp_path / "run")
    assert read_about(tmp_path / "run")["hardware"]["threads"] == 1
    assert threads[-1] == 8


MLP = Architecture(name="mlp", shape=SHAPE, classes=4)
ONE_EPOCH = Schedule(epochs=1, batch_size=4, accelerator="cpu")


def fitted(network, x, out):
    del network
    data = Data.of(x, torch.arange(len(x)) % 4)
    fit(MLP.build(), data, Standard(), ONE_EPOCH, architecture=MLP, out=out)


@pytest.mark.parametrize(
    "work",
    [
        fitted,
        lambda network, x, out: certify_images(network, x, sigma=0.1, votes=50),
        lambda network, x, out: distill(network, x, MLP, ONE_EPOCH),
        lambda network, x, out: substitute(network, x, MLP, ONE_EPOCH, rounds=2),
    ],
    ids=["fit", "certify_images", "distill", "substitute"],
)
def test_whatever_loops_over_batches_by_itself_does_so(threads, tmp_path, work):
    asked = []

    def look(_, inputs):
        if len(inputs[0]) > 1:  # not the one image by which a network's size is found
            asked.append(threads[-1])

    hook = register_module_forward_pre_hook(look)
    try:
        work(small_network(), images(8, SHAPE), tmp_path)
    finally:
        hook.remove()
    assert set(asked) == {1}
    assert threads[-1] == 8


def test_a_large_source_counts(threads, tmp_path):
    x, network = images(8, SHAPE), small_network()
    source = nn.Sequential(large(), nn.Linear(SMALL // 36 + 1, 3, bias=False)).eval()
    attack = On(source, FGSM(Linf(0.1)), name="large")
    evaluate(network, x, network(x).argmax(dim=1), {"fgsm": attack}, out=tmp_path / "run")
    assert read_about(tmp_path / "run")["hardware"]["threads"] == 8


class Launched:
    """A Fabric that starts nothing."""

    def __init__(self, **_):
        self.device = torch.device("cpu")

    def launch(self):
        pass


@pytest.mark.usefixtures("unchecked")
class TestCrowds:
    @pytest.fixture(autouse=True)
    def two_cores(self, monkeypatch):
        monkeypatch.setattr("holdfast.threads.allowed_cores", lambda: {0, 1})
        monkeypatch.setattr("holdfast.lightning.Fabric", Launched)
        monkeypatch.delenv("LOCAL_RANK", raising=False)

    def test_more_processes_than_cores_are_told_of_before_they_start(self):
        with pytest.warns(UserWarning, match="5 processes share 2 cores: they take turns"):
            Processes(devices=5).launch("cpu", "32-true")

    def test_by_the_first_of_them_alone(self, monkeypatch, recwarn):
        monkeypatch.setenv("LOCAL_RANK", "1")
        Processes(devices=5).launch("cpu", "32-true")
        assert not recwarn.list

    def test_and_as_many_as_cores_are_not(self, recwarn):
        Processes(devices=2).launch("cpu", "32-true")
        assert not recwarn.list
