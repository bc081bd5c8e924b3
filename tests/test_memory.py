"""Where memory runs out, fewer images at once give the rows that they would have given anyway."""

import copy
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import nn

from holdfast import Linf, batch_size
from holdfast.attacks import PGD, Guarded
from holdfast.certify import CertificationConfig, certify
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.diagnose import Diagnosis, diagnose_data
from holdfast.errors import HoldfastError, ModelError, OutOfMemoryError
from holdfast.evaluation import EvaluationConfig, evaluate_data
from holdfast.memory import AtOnce, out_of_memory
from holdfast.progress import Progress, silent
from holdfast.results import read_about, read_images
from tests.toys import images, small_network

COUNT = 12


class Narrow(nn.Module):
    """A network whose device holds so many images; ``only`` says on which passes that is felt."""

    def __init__(self, most: int, only=lambda x: True, error=torch.OutOfMemoryError) -> None:
        super().__init__()
        self.network, self.most, self.only, self.error = small_network(), most, only, error
        self.failed: list[int] = []
        self.eval()

    def forward(self, x):
        if len(x) > self.most and self.only(x):
            self.failed.append(len(x))
            raise self.error("MPS backend out of memory")
        return self.network(x)


def requires_grad(x):
    return x.requires_grad


def data(count=COUNT):
    x = images(count)
    return Data.of(x, small_network()(x).argmax(dim=1))


def evaluated(model, size, out=None, count=COUNT, attacks=None, progress=silent, **settings):
    attacks = attacks or [
        *(("pgd", PGD(Linf(eps), steps=3)) for eps in (0.02, 0.1)),
        ("weak", PGD(Linf(0.05), steps=2)),
    ]
    settings = {"audit": 0, "hidden": False, "keep_images": 7, **settings}
    config = EvaluationConfig(batch_size=size, **settings)
    return evaluate_data(model, data(count), attacks, config, out=out, progress=progress)


def same(one, other):
    pd.testing.assert_frame_equal(one.rows, other.rows, check_exact=True)


@pytest.mark.parametrize(
    ("error", "only", "share_sizes"),
    [
        (torch.OutOfMemoryError, lambda x: True, False),
        (torch.OutOfMemoryError, requires_grad, True),
        (RuntimeError, requires_grad, False),
    ],
)
def test_rows_are_those_of_the_batch_size_that_fits(tmp_path, error, only, share_sizes):
    model = Narrow(8, only, error)  # 8 are asked about to identify a model
    with pytest.warns(UserWarning, match=r"12 images .* 6 at a time.*--batch-size 6 \(") as told:
        halved = evaluated(model, 50, tmp_path / "halved", share_sizes=share_sizes)
    assert len(told) == 1
    fitting = evaluated(small_network(), 6, tmp_path / "fitting", share_sizes=share_sizes)
    same(halved, fitting)
    for cell in (1, 2, 3):
        kept, wanted = (read_images(tmp_path / name, cell) for name in ("halved", "fitting"))
        assert wanted["index"].tolist() == list(range(7))
        assert kept.keys() == wanted.keys()
        assert all(torch.equal(kept[name], wanted[name]) for name in wanted)


def test_a_stochastic_model_is_asked_in_smaller_batches_too():
    def noisy(network):
        return nn.Sequential(GaussianNoise(0.1), network).eval()

    how = {"votes": 4, "samples": 2, "attacks": [("pgd", PGD(Linf(0.05), steps=2))]}
    with pytest.warns(UserWarning, match="6 at a time"):
        halved = evaluated(noisy(Narrow(8)), COUNT, **how)
    same(halved, evaluated(noisy(small_network()), 6, **how))


def test_later_batches_begin_with_what_held():
    model = Narrow(4, requires_grad)
    with pytest.warns(UserWarning, match="3 at a time"):
        evaluated(model, COUNT, count=3 * COUNT, attacks=[("pgd", PGD(Linf(0.05), steps=2))])
    assert len(model.failed) == 2
    assert max(model.failed) <= COUNT


class Killed(Progress):
    """Ends the run in the second chunk."""

    def __init__(self) -> None:
        self.parts = 0

    def advance(self, pieces: int = 1, note: str = "") -> None:
        self.parts += 1
        if self.parts == 3:
            raise KeyboardInterrupt


def test_chunks_stay_those_of_the_settings(tmp_path):
    """An interrupted run goes on where memory holds more, or less."""
    attacks = [("pgd", PGD(Linf(0.05), steps=2))]
    narrow, whole = Narrow(4, requires_grad), Narrow(COUNT, requires_grad)
    with pytest.warns(UserWarning, match="3 at a time"), pytest.raises(KeyboardInterrupt):
        evaluated(narrow, COUNT, tmp_path, 2 * COUNT, attacks, Killed())
    written = sorted(path.stem for path in (tmp_path / "rows").glob("*.csv"))
    assert written == ["0000.00000", "0000.00001", "0001.00000"]
    found = evaluated(whole, COUNT, tmp_path, 2 * COUNT, attacks).rows
    assert len(found) == 2 * 2 * COUNT
    assert not found.duplicated(["attack", "index"]).any()


def test_a_strangers_attack_that_runs_out_of_memory_has_a_smaller_batch():
    network = small_network()

    def function(model, x, y):
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return (x + 0.05).clamp(0, 1)

    attacks = [("mine", Guarded(Linf(0.1), function))]
    with pytest.warns(UserWarning, match="3 at a time"):
        halved = evaluated(network, COUNT, attacks=attacks)
    same(halved, evaluated(network, 3, attacks=attacks))


def test_certificates_are_those_of_the_batch_size_that_fits():
    def certified(network, size):
        how = {"votes": 100, "bounds": ("cohen",), "audit": 0}
        config = CertificationConfig(sigma=0.1, batch_size=size, **how)
        return certify(network, images(4), torch.arange(4), config=config)

    with pytest.warns(UserWarning, match=r"64 images at once.* 16 at a time") as told:
        halved = certified(Narrow(20), 64)
    assert len(told) == 1
    same(halved, certified(small_network(), 16))


def test_diagnoses_are_those_of_the_batch_size_that_fits():
    def look(model, x, y, *, seed, index):
        return {"first": model(x)[:, 0], "image": x, "index": index}

    diagnosis = Diagnosis("mine", {}, look, lambda found: {"mean": found["first"].mean()})
    with pytest.warns(UserWarning, match=r"12 images .* 6 at a time"):
        halved = diagnose_data(diagnosis, {"a": Narrow(8), "b": Narrow(8)}, data())
    wanted = diagnose_data(
        diagnosis, {"a": small_network(), "b": small_network()}, data(), batch_size=6
    )
    for name in ("a", "b"):
        assert all((halved[name][key] == wanted[name][key]).all() for key in wanted[name])


def test_what_does_not_hold_one_image_is_told_in_a_sentence(tmp_path):
    with pytest.raises(OutOfMemoryError, match=r"one image at a time .*MPS.* another device"):
        evaluated(Narrow(0, requires_grad), COUNT, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_errors_are_raised_at_once():
    calls = []

    def work(size):
        calls.append(size)
        raise ModelError("odd.")

    with pytest.raises(ModelError, match="odd"):
        AtOnce(8).fit(work)
    assert calls == [8]
    assert not out_of_memory(ModelError("the model is out of memory of its own"))


class Free:
    """A machine of so much free memory."""

    def __init__(self, monkeypatch, free: int) -> None:
        monkeypatch.setattr(batch_size, "free_memory", lambda device: free)


@pytest.fixture
def each():
    """Bytes that a pass of the network takes for an image."""
    return batch_size._bytes_of_an_image(small_network(), images(8), True)


class TestAuto:
    def test_as_many_as_half_of_free_memory_holds(self, monkeypatch, each):
        found = []
        for free in (0, 2 * each, 20 * each, 10**6 * each):
            Free(monkeypatch, free)
            found.append(batch_size.that_fits(small_network(), images(8)))
        assert found == [1, 1, 8, 128]

    def test_what_an_image_takes_is_what_the_way_back_needs_of_it(self, each):
        many = batch_size._bytes_of_an_image(small_network(), images(4), True)
        assert many == each > images(1).nbytes

    def test_what_cannot_be_measured_is_not_guessed(self, monkeypatch):
        Free(monkeypatch, 1)
        assert batch_size.that_fits(nn.Flatten(), images(8)) == 128
        assert batch_size.that_fits(Narrow(0), images(8)) == 1
        monkeypatch.setattr(batch_size, "free_memory", lambda device: None)
        assert batch_size.that_fits(small_network(), images(8)) == 128

    def test_a_container_has_no_more_than_it_is_allowed(self, monkeypatch, tmp_path):
        for name, text in (("_LIMIT", "5000"), ("_USED", "2000")):
            (tmp_path / name).write_text(text)
            monkeypatch.setattr(batch_size, name, tmp_path / name)
        assert batch_size.free_memory(torch.device("cpu")) == 3000
        (tmp_path / "_LIMIT").write_text("max\n")
        assert batch_size.free_memory(torch.device("cpu")) != 3000

    def test_another_process_chooses_for_itself(self):
        once = AtOnce(lambda: 8)
        once.halve(torch.OutOfMemoryError("CUDA out of memory."))
        assert once.size == 4
        sent = copy.copy(once)
        assert sent.size == 8

    @pytest.mark.parametrize("hidden", [True, False])
    def test_rows_are_those_of_any_other(self, monkeypatch, tmp_path, each, hidden):
        Free(monkeypatch, 8 * each)
        chosen = evaluated(small_network(), "auto", tmp_path, hidden=hidden)
        about = read_about(tmp_path)
        assert (about["settings"]["batch_size"], about["batch_size"]) == ("auto", 4)
        same(chosen, evaluated(small_network(), 4, hidden=hidden))

    def test_a_run_goes_on_where_another_is_chosen(self, monkeypatch, tmp_path, each):
        monkeypatch.setattr(batch_size, "_MOST", 8)  # chunks of which there are several here
        attacks = [("pgd", PGD(Linf(0.05), steps=2))]
        Free(monkeypatch, 8 * each)
        with pytest.raises(KeyboardInterrupt):
            evaluated(small_network(), "auto", tmp_path, 2 * COUNT, attacks, Killed())
        Free(monkeypatch, 4 * each)
        found = evaluated(small_network(), "auto", tmp_path, 2 * COUNT, attacks)
        assert read_about(tmp_path)["batch_size"] == 2
        assert not found.rows.duplicated(["attack", "index"]).any()
        assert len(found.rows) == 2 * 2 * COUNT

    def test_certificates_and_diagnoses_choose_too(self, monkeypatch, tmp_path, each):
        Free(monkeypatch, 8 * each)
        config = CertificationConfig(sigma=0.1, votes=50, batch_size="auto")
        x, y = images(4), torch.arange(4)
        chosen = certify(small_network(), x, y, config=config, out=tmp_path / "certified")
        assert read_about(tmp_path / "certified")["batch_size"] == 4
        fixed = replace(config, batch_size=4)
        same(chosen, certify(small_network(), x, y, config=fixed))

        def look(model, x, y, *, seed, index):
            assert len(x) <= 4
            return {"first": model(x)[:, 0]}

        diagnosis = Diagnosis("mine", {}, look, lambda found: {"mean": found["first"].mean()})
        models = {"a": small_network()}
        diagnose_data(diagnosis, models, data(), batch_size="auto", out=tmp_path / "diagnosed")
        assert read_about(tmp_path / "diagnosed")["batch_size"] == 4

    @pytest.mark.parametrize("wrong", [0, -1])
    def test_other_sizes_are_refused(self, wrong):
        with pytest.raises(HoldfastError, match=f"batch_size is {wrong}.*auto"):
            EvaluationConfig(batch_size=wrong)
