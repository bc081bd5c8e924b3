"""Several processes: parts of a batch, one gradient, the same weights as one process."""

import os
import subprocess
import sys
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch import nn

from holdfast.cli.main import run
from holdfast.errors import InputError
from holdfast.files import read_json, read_tensors
from holdfast.models import Architecture
from holdfast.models.checkpoint import MODEL, save_model
from holdfast.processes import gather_gradients, in_precision, parts_of
from holdfast.training import Schedule


@given(examples=st.integers(1, 20), world=st.integers(1, 4), accumulate=st.integers(1, 4))
def test_parts_cover_the_batch_and_are_weighted_by_their_size(examples, world, accumulate):
    batch = 7 + 3 * torch.arange(examples)
    parts = [parts_of(batch, accumulate, world, rank) for rank in range(world)]
    assert len({len(mine) for mine in parts}) == 1  # so that they log the same terms
    flat = [part for mine in parts for part in mine]
    assert len({part.number for part in flat}) == len(flat)
    assert all(len(part.examples) for part in flat)
    told = torch.cat([part.examples for part in flat if part.weight])
    assert torch.equal(told.sort().values, batch)
    for part in flat:
        assert part.weight in (0, pytest.approx(len(part.examples) / examples))


def two_processes():
    """Stands for Fabric: remembers what the first process sends, and adds it for the second."""
    sent = []

    def all_reduce(value, reduce_op):
        assert reduce_op == "sum"
        sent.append(value.clone())
        return torch.stack(sent).sum(dim=0)

    return Mock(spec=Fabric, world_size=2, device=torch.device("cpu"), all_reduce=all_reduce)


def test_gradients_are_summed_and_statistics_averaged():
    def network(gradient, mean):
        made = nn.ModuleDict(
            {"a": nn.Linear(2, 1), "norm": nn.BatchNorm1d(3), "b": nn.Linear(1, 1)}
        )
        made["a"].weight.grad = gradient
        made["norm"].running_mean.fill_(mean)
        made["b"].requires_grad_(requires_grad=False)
        return made

    fabric = two_processes()
    gather_gradients(fabric, network(torch.tensor([[1.0, 2.0]]), 1.0))
    second = network(None, 4.0)
    gather_gradients(fabric, second)
    assert second["a"].weight.grad.tolist() == [[1.0, 2.0]]
    assert second["norm"].running_mean.tolist() == [2.5] * 3
    assert second["norm"].running_var.tolist() == [1.0] * 3
    # What no process reached, or may not move, has no gradient: no decay, no momentum.
    assert second["a"].bias.grad is None
    assert second["b"].weight.grad is None


def test_a_machine_without_the_device_says_so():
    with pytest.raises(InputError, match="quantum"):
        Schedule(epochs=1, accelerator="quantum").launch()
    with pytest.raises(InputError, match="16-mixed needs a GPU"):
        Schedule(epochs=1, accelerator="cpu", precision="16-mixed").launch()


def test_mixed_precision_is_inside_the_network_alone():
    fabric = Schedule(epochs=1, accelerator="cpu", precision="bf16-mixed").launch()
    network, inside = nn.Sequential(nn.Linear(3, 2)), []
    network[0].register_forward_hook(lambda *given: inside.append(given[2].dtype))
    with in_precision(network, fabric):
        x = torch.rand(4, 3, requires_grad=True)
        logits = network(x)
        (slope,) = torch.autograd.grad(logits.sum(), x)  # as an attack does
    assert inside == [torch.bfloat16]
    assert logits.dtype == slope.dtype == network[0].weight.dtype == torch.float32
    assert network(x).dtype == torch.float32
    assert inside == [torch.bfloat16, torch.float32]


def in_two_processes(arguments):
    """The command; Fabric starts the second process by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", *arguments, "--devices", "2"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_train_the_same_network_as_one(tmp_path):
    """PGD training, its random start keyed by example; batches of 33 share out unevenly."""
    line = (
        "train --model small --images 210 --hold-out 40 --val-attack pgd(steps=2) "
        "--objective pgd(steps=2) --eps 0.1 --optimizer sgd(lr=0.1) --epochs 2 --batch-size 33 "
        "--clip 1 --ema 0.9 --best val_accuracy --accelerator cpu --quiet"
    )
    assert run([*line.split(), "--accumulate", "2", "--out", str(tmp_path / "one")]) == 0
    in_two_processes([*line.split(), "--out", str(tmp_path / "two")])
    one, two = (read_tensors(tmp_path / name / MODEL)[0] for name in ("one", "two"))
    moved = max(float((one[name] - two[name]).abs().max()) for name in one)
    assert moved < 1e-5
    logs = [pd.read_csv(tmp_path / name / "metrics.csv") for name in ("one", "two")]
    pd.testing.assert_frame_equal(*logs, rtol=1e-4)
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1  # one process writes
    assert "devices=2" in read_json(tmp_path / "two" / "run.json")["settings"]["processes"]


def test_two_processes_certify_as_one(tmp_path):
    architecture = Architecture(name="small", shape=(1, 8, 8), classes=10)
    save_model(tmp_path / "net.safetensors", architecture.build(0), architecture)
    line = (
        f"certify --model {tmp_path / 'net.safetensors'} --sigma 0.3 --images 20 "
        "--votes 3000 --bounds renyi,cohen --accelerator cpu --quiet"
    )
    assert run([*line.split(), "--out", str(tmp_path / "one")]) == 0
    in_two_processes([*line.split(), "--out", str(tmp_path / "two")])
    one, two = ((tmp_path / name / "rows.csv").read_bytes() for name in ("one", "two"))
    assert one == two
