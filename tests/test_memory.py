"""Where memory runs out, fewer images at once give the rows that they would have given anyway."""

import pandas as pd
import pytest
import torch
from torch import nn

from holdfast import Linf
from holdfast.attacks import PGD, Guarded
from holdfast.certify import CertificationConfig, certify
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.diagnose import Diagnosis, diagnose_data
from holdfast.errors import ModelError, OutOfMemoryError
from holdfast.evaluation import EvaluationConfig, evaluate_data
from holdfast.memory import AtOnce, out_of_memory
from holdfast.progress import Progress, silent
from holdfast.results import read_images
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


def evaluated(model, batch_size, out=None, count=COUNT, attacks=None, progress=silent, **settings):
    attacks = attacks or [
        *(("pgd", PGD(Linf(eps), steps=3)) for eps in (0.02, 0.1)),
        ("weak", PGD(Linf(0.05), steps=2)),
    ]
    settings = {"audit": 0, "hidden": False, "keep_images": 7, **settings}
    config = EvaluationConfig(batch_size=batch_size, **settings)
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
    def certified(network, batch_size):
        how = {"votes": 100, "bounds": ("cohen",), "audit": 0}
        config = CertificationConfig(sigma=0.1, batch_size=batch_size, **how)
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
