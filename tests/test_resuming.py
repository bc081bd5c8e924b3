"""A run that is broken off ends as an unbroken one: exceptions, SIGKILL, a full disk."""

import errno
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning_fabric.plugins.precision import MixedPrecision
from safetensors import SafetensorError
from safetensors.torch import save_file

from holdfast import data, files
from holdfast.errors import DamagedFileError, DiskFullError, OutputError
from holdfast.files import read_json, read_tensors
from holdfast.models import Architecture
from holdfast.models.checkpoint import MODEL, load_model
from holdfast.tensors import fingerprint
from holdfast.training import (
    SGD,
    Adam,
    RMSProp,
    Schedule,
    Standard,
    fit,
    kept_epochs,
    train_data,
)
from holdfast.training import trainer as trainer_file
from holdfast.training.state import CHECKPOINT, State, load_state, save_state
from tests.cases import OBJECTIVES

SMALL = Architecture(name="mlp", shape=(1, 8, 8), classes=10)


def digits():
    return data.load("digits", "train", limit=256)


class StopHereError(Exception):
    pass


@pytest.mark.parametrize("name", ["Stability", "Adversarial"])
@pytest.mark.parametrize("stop", [1, 5, 8, 11])
def test_an_interrupted_run_ends_as_an_unbroken_one(tmp_path, name, stop):
    schedule = Schedule(epochs=3, batch_size=64)
    made = Architecture(name="A", shape=(1, 9, 9), classes=10)  # convolutions and dropout
    x, y = torch.rand(256, 1, 9, 9), torch.arange(256) % 10
    images, objective = data.Data.of(x, y), OBJECTIVES[name]
    whole = train_data(made, images, objective, schedule, tmp_path / "whole")

    def breaks(network, rng, step):
        if step == stop:
            raise StopHereError
        return {}

    broken = made.build(0)
    (tmp_path / "out").mkdir()
    with pytest.raises(StopHereError):
        fit(
            broken,
            images,
            objective,
            schedule,
            architecture=made,
            out=tmp_path / "out",
            hooks=[breaks],
            checkpoint_seconds=0,
        )
    resumed = made.build(0)
    fit(resumed, images, objective, schedule, architecture=made, out=tmp_path / "out")
    for expected, found in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, found)
    logs = [(tmp_path / folder / "metrics.csv").read_text() for folder in ("whole", "out")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"objective": OBJECTIVES["Adversarial"]}, "objective Standard"),
        ({"schedule": Schedule(epochs=1, seed=1)}, "seed 0, and not 1"),
        ({"schedule": Schedule(epochs=1, lr=0.1)}, "lr 0.001, and not 0.1"),
        ({"schedule": Schedule(epochs=1, batch_size=64)}, "batch_size 128, and not 64"),
        ({"data": data.Data.of(torch.rand(9, 1, 8, 8), torch.arange(9))}, "labels"),
    ],
)
def test_the_folder_of_another_training_is_refused(tmp_path, changed, named):
    given = {"data": digits(), "objective": Standard(), "schedule": Schedule(epochs=1)}
    fit(SMALL.build(0), **given, architecture=SMALL, out=tmp_path)
    before = (tmp_path / "metrics.csv").read_bytes()
    with pytest.raises(OutputError, match=named):
        fit(SMALL.build(0), **given | changed, architecture=SMALL, out=tmp_path)
    assert (tmp_path / "metrics.csv").read_bytes() == before
    longer = given | {"schedule": Schedule(epochs=2, accelerator="cpu")}
    assert len(fit(SMALL.build(0), **longer, architecture=SMALL, out=tmp_path)) == 2


@pytest.mark.parametrize("optimizer", [Adam(), SGD(), SGD(momentum=0.0), RMSProp(momentum=0.5)])
def test_every_optimiser_goes_on_where_it_stopped(tmp_path, optimizer):
    schedule = Schedule(epochs=2, optimizer=optimizer, lr=0.01, ema=0.9)
    whole, halted = SMALL.build(0), SMALL.build(0)
    fit(whole, digits(), Standard(), schedule, architecture=SMALL, out=tmp_path / "whole")

    def halting(network, rng, step):
        if step == 2:
            raise StopHereError
        return {}

    arguments = {"architecture": SMALL, "out": tmp_path / "out"}
    with pytest.raises(StopHereError):
        fit(halted, digits(), Standard(), schedule, **arguments, hooks=[halting])
    resumed = SMALL.build(1)
    fit(resumed, digits(), Standard(), schedule, **arguments)
    assert all(
        torch.equal(expected, found)
        for expected, found in zip(whole.parameters(), resumed.parameters(), strict=True)
    )


@pytest.mark.parametrize("stop", [0, 2, 3])  # at once, and in the second of two epochs
def test_every_epoch_is_kept_of_a_training_that_was_interrupted(tmp_path, stop):
    schedule = Schedule(epochs=2, batch_size=128)

    def halting(network, rng, step):
        if step == stop:
            raise StopHereError
        return {}

    def train(folder, hooks=()):
        fit(
            SMALL.build(0),
            digits(),
            Standard(),
            schedule,
            architecture=SMALL,
            out=tmp_path / folder,
            hooks=hooks,
            keep_epochs=True,
        )

    train("whole")
    with pytest.raises(StopHereError):
        train("out", [halting])
    train("out")
    whole, resumed = (kept_epochs(tmp_path / folder) for folder in ("whole", "out"))
    assert list(whole) == list(resumed) == [0, 1, 2]
    for epoch in whole:
        assert fingerprint(load_model(whole[epoch])) == fingerprint(load_model(resumed[epoch]))


def test_killed_at_random_moments(tmp_path):
    """SIGKILL: weights bit for bit those of a whole run, with all that a checkpoint must hold."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.killing", str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert int(done.stdout) >= 4
    whole, killed = (read_tensors(tmp_path / run / MODEL)[0] for run in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    metrics = [(tmp_path / run / "metrics.csv").read_text() for run in ("whole", "killed")]
    assert metrics[0] == metrics[1]
    abouts = [read_json(tmp_path / run / "run.json") for run in ("whole", "killed")]
    assert abouts[0]["best_epoch"] == abouts[1]["best_epoch"]
    assert not (tmp_path / "killed" / CHECKPOINT).exists()
    assert not list((tmp_path / "killed").glob(".*.tmp"))


def test_a_kill_between_the_last_checkpoint_and_the_tables_loses_no_epoch(tmp_path, monkeypatch):
    schedule, arguments = Schedule(epochs=2), {"architecture": SMALL, "out": tmp_path}
    write = trainer_file.write_table

    def killed(path, table):
        if len(table) == 2:
            raise StopHereError
        write(path, table)

    monkeypatch.setattr(trainer_file, "write_table", killed)
    with pytest.raises(StopHereError):
        fit(SMALL.build(0), digits(), Standard(), schedule, **arguments)
    monkeypatch.setattr(trainer_file, "write_table", write)
    log = fit(SMALL.build(0), digits(), Standard(), schedule, **arguments)
    assert (
        pd.read_csv(tmp_path / "metrics.csv")["epoch"].tolist() == log["epoch"].tolist() == [1, 2]
    )
    assert len(pd.read_csv(tmp_path / "speed.csv")) == 2


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("No space left on device (os error 28)"),  # what safetensors makes of it
    ],
)
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch, error):
    """The third checkpoint fails when half of it is written."""
    schedule, out = Schedule(epochs=2), tmp_path / "out"
    whole, broken = SMALL.build(0), SMALL.build(0)
    fit(whole, digits(), Standard(), schedule, architecture=SMALL, out=tmp_path / "whole")
    kept = []

    def full(tensors, path, metadata):
        if len(kept) == 2:
            path.write_bytes(b"half")
            raise error
        save_file(tensors, path, metadata=metadata)
        kept.append(path.read_bytes())

    monkeypatch.setattr(files.tensors, "save_file", full)
    arguments = {"architecture": SMALL, "out": out, "checkpoint_seconds": 0.0}
    with pytest.raises(DiskFullError, match="No space left"):
        fit(broken, digits(), Standard(), schedule, **arguments)
    assert (out / CHECKPOINT).read_bytes() == kept[1]
    assert not list(out.glob(".*.tmp"))
    monkeypatch.undo()
    resumed = SMALL.build(0)
    fit(resumed, digits(), Standard(), schedule, **arguments)
    for expected, found in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_a_damaged_checkpoint_is_told(tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(DamagedFileError, match="damaged"):
        fit(
            SMALL.build(0),
            digits(),
            Standard(),
            Schedule(epochs=1),
            architecture=SMALL,
            out=tmp_path,
        )


def test_what_a_killed_process_left_is_removed(tmp_path):
    leftover = tmp_path / f".{CHECKPOINT}.4711.tmp"
    leftover.write_bytes(b"half")
    fit(SMALL.build(0), digits(), Standard(), Schedule(epochs=1), architecture=SMALL, out=tmp_path)
    assert not leftover.exists()


def test_the_scaler_of_16_bits_and_the_best_weights_go_on(tmp_path):
    def begun(scale):
        network = SMALL.build(0)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        optimizer = Adam().build(network.parameters(), 0.1, 0.0)
        return State(network, optimizer, MixedPrecision("16-mixed", "cpu", scaler), None)

    saved, loaded = begun(8.0), begun(2.0)
    saved.best = {name: torch.ones_like(t) for name, t in saved.network.state_dict().items()}
    save_state(tmp_path / CHECKPOINT, saved, SMALL)
    load_state(tmp_path / CHECKPOINT, loaded)
    assert loaded.precision.state_dict()["scale"] == 8.0
    assert loaded.best.keys() == saved.best.keys()
    assert all(torch.equal(loaded.best[name], tensor) for name, tensor in saved.best.items())
