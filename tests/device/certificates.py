"""Votes, limits, bounds: the same certificate from the same draws."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tests.device.pair import Pair, agree, expect
from tests.device.parts import Part
from tests.device.subjects import ROUNDING, cases, certify, toy

NOISE = {"laplace": "laplace"}  # of a bound; Gaussian for all others

#: Beside Clopper and Pearson's, which each bound is read off with.
INTERVALS: dict[str, dict[str, Any]] = {
    "two-sample": {"interval": certify.TwoSample},
    "two-sample, randomised": {"interval": certify.TwoSampleRandomised},
    "Hoeffding": {"interval": certify.Hoeffding, "bound": "pixeldp"},
    "Sison-Glaz": {"interval": certify.SisonGlaz},
    "STN 2019": {"interval": certify.STN2019},
    "sequential": {"interval": certify.Sequential, "until": certify.AtLeast((0.05, 0.1))},
    "behind the first layer": {"noise": "first-layer"},
}


def parts(pair: Pair) -> Iterator[Part]:
    for name in cases.BOUNDS:
        yield Part(f"bounds/{name}, of tensors", lambda b=name: _formula(pair, b), quick=True)
        options = {"bound": name, "noise": NOISE.get(name, "gaussian")}
        yield Part(f"certificates/{name}", lambda o=options: _certified(pair, o), quick=True)
    for name, options in INTERVALS.items():
        yield Part(f"certificates/{name}", lambda o=options: _certified(pair, o), quick=True)


def _formula(pair: Pair, bound: str) -> str:
    p1 = torch.linspace(0.5, 1, 101, dtype=torch.float64)
    p2 = (1 - p1) * torch.linspace(0, 1, 101, dtype=torch.float64)

    def run(_: nn.Module, where: torch.device) -> Tensor:
        radius = cases.BOUNDS[bound].radius(p1.to(where), p2.to(where), 0.5)
        expect(radius.device.type == where.type, f"the radius is on {radius.device}")
        return radius

    return agree(*pair.both(run, nn.Identity()), 0.0)


def _certified(pair: Pair, options: dict[str, Any]) -> str:
    """Votes in float64 are equal, for a tie within 1e-13 is not to be met."""
    network, x, _ = toy(6)

    def run(model: nn.Module, where: torch.device) -> certify.Certificates:
        return certify.certify_images(model, x.to(where), sigma=0.1, votes=600, seed=4, **options)

    here, there = pair.both(run, network)
    agree(torch.from_numpy(here.counts), torch.from_numpy(there.counts), 0, "votes")
    agree(torch.from_numpy(here.prediction), torch.from_numpy(there.prediction), 0, "predictions")
    saw = agree(torch.from_numpy(here.radius), torch.from_numpy(there.radius), ROUNDING, "radius")
    return f"{int(here.counts.sum())} votes, {saw}, of up to {here.radius.max():.3g}"
