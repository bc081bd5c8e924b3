"""A weight that stands in two layers is one: moved once, averaged once, kept and read back."""

import pytest
import torch
from torch import Tensor, nn

from holdfast.data import Data
from holdfast.models import Architecture
from holdfast.random import Stream
from holdfast.training import Parseval, Schedule, Standard, fit, tightness
from holdfast.training.ema import EMA

SMALL = Architecture(name="small", shape=(1, 8, 8), classes=10)


class Tied(nn.Module):
    """Two layers of one weight, and one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Flatten()
        self.first = nn.Linear(64, 64, bias=False)
        self.second = nn.Linear(64, 64, bias=False)
        self.second.weight = self.first.weight
        self.last = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(self.flat(x)))
        return self.last(torch.relu(self.second(hidden)))


def test_the_average_takes_it_in_once():
    network = Tied()
    nn.init.zeros_(network.first.weight)
    average = EMA(network, decay=0.9)
    nn.init.ones_(network.first.weight)
    average.update(network, step=1000)
    kept = average.network
    assert torch.allclose(kept.first.weight, torch.tensor(0.1))
    assert kept.second.weight is kept.first.weight


def test_parseval_moves_it_once_and_measures_it_once():
    network, beta = Tied(), 0.1
    weight = network.first.weight.detach().clone()
    Parseval(beta=beta, fraction=1.0)(network, Stream.of(0, torch.arange(1)), 0)
    expected = (1 + beta) * weight - beta * weight @ weight.T @ weight
    assert torch.allclose(network.first.weight, expected, atol=1e-6)
    assert len(tightness(network)) == 2


@pytest.mark.parametrize("ema", [None, 0.5])
def test_it_is_trained_kept_and_gone_on_from(ema, tmp_path):
    rng = torch.Generator().manual_seed(0)
    data = Data.of(torch.rand(40, 1, 8, 8, generator=rng), torch.arange(40) % 10)

    def trained() -> nn.Module:
        torch.manual_seed(0)
        network = Tied()
        schedule = Schedule(epochs=2, batch_size=20, lr=0.1, accelerator="cpu", ema=ema)
        fit(network, data, Standard(), schedule, architecture=SMALL, out=tmp_path)
        return network

    network, initial = trained(), Tied()
    assert network.first.weight is network.second.weight
    assert not torch.equal(network.first.weight, initial.first.weight)
    again = trained()  # is read back, since it is finished
    assert torch.equal(again.first.weight, network.first.weight)
    assert torch.equal(again.last.weight, network.last.weight)
