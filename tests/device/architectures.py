"""Every architecture: shapes on the meta device, and the same answers on each device."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tests.device.pair import Pair, agree, expect
from tests.device.parts import Part
from tests.device.subjects import ARCHITECTURES, DENOISERS, Architecture

SHAPES = {"madry-cifar10": (3, 32, 32), "stn-cifar10": (3, 32, 32), "nin": (3, 32, 32)}


def parts(pair: Pair) -> Iterator[Part]:
    for name in (*ARCHITECTURES, *DENOISERS):
        made = Architecture(name=name, shape=SHAPES.get(name, (1, 28, 28)), classes=10)
        yield Part(f"architectures/{name}, meta", lambda m=made: _meta(m), quick=True)
        yield Part(f"architectures/{name}", lambda m=made: _beside(pair, m))


def _meta(made: Architecture) -> str:
    """A batch that no machine could hold: shapes alone are computed."""
    with torch.device("meta"):
        network = made.build().to("meta").eval()
        out = network(torch.empty(100_000, *made.shape))
    expected = (100_000, *(made.shape if made.denoises else (made.classes,)))
    expect(tuple(out.shape) == expected, f"shape {tuple(out.shape)} instead of {expected}")
    return f"{sum(weight.numel() for weight in network.parameters()):,} weights"


def _beside(pair: Pair, made: Architecture) -> str:
    """In float32: a sum of n terms is off by about sqrt(n) roundings, layer after layer."""
    network = made.build().eval()
    x = torch.rand(4, *made.shape, generator=torch.Generator().manual_seed(0))

    def run(model: nn.Module, where: torch.device) -> Tensor:
        with torch.no_grad():
            return model(x.to(where))

    here, there = pair.both(run, network)
    return agree(here, there, 1e-4 * max(1.0, float(here.abs().max())))
