"""What differs is called otherwise in a record, so that no run goes on as another."""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast import L2, Linf, evaluate, losses
from holdfast.attacks import PGD, Among, Boundary, Guarded
from holdfast.defenses import GaussianNoise
from holdfast.errors import OutputError
from holdfast.goals import (
    AverageOf,
    FromClean,
    LeaveToward,
    Minus,
    Untargeted,
    cross_entropy,
    reconstruction_error,
    toward,
)
from holdfast.recorded import recorded
from holdfast.training import TRADES
from tests.toys import images, random_linear

BALL = Linf(0.1)


def shifted(model: nn.Module, x: Tensor, y: Tensor, *, by: float = 0.0) -> Tensor:
    """An attack of a stranger."""
    return x + by


def held(value: object):
    """A function that takes in a value from around it."""
    return lambda x: (value, x)[1]


@dataclass
class Doubled:
    factor: float

    def of(self, x: Tensor) -> Tensor:
        return self.factor * x


class Stepping:
    """An attack of a stranger that is an object."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return x


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 5))


PAIRS = {
    "partial": (partial(shifted, by=0.1), partial(shifted, by=0.2)),
    "lambdas": (lambda x: x, lambda x: 2 * x),
    "closures": (held(1), held(2)),
    "closures over tensors": (held(torch.zeros(2)), held(torch.ones(2))),
    "methods": (Doubled(1.0).of, Doubled(2.0).of),
    "networks": (network(0), network(1)),
    "layers without weights": (GaussianNoise(0.1), GaussianNoise(0.2)),
    "tensors": (torch.tensor([1, 2]), torch.tensor([2, 1])),
    "arrays": (np.arange(5000), np.arange(5000) + (np.arange(5000) == 2500)),
    "objects": (Stepping(1), Stepping(2)),
    "in a list": ([1, held(1)], [1, held(2)]),
    "average of": (AverageOf({"a": network(0)}), AverageOf({"a": network(1)})),
    "targets": (toward(torch.tensor([1])), toward(torch.tensor([2]))),
    "losses": (
        Untargeted(losses.clipped_cross_entropy),
        Untargeted(partial(losses.clipped_cross_entropy, least=1e-3)),
    ),
    "targeted losses": (LeaveToward(losses.towards_dlr), LeaveToward(losses.towards_margin)),
    "divergences": (FromClean(losses.kl_divergence), FromClean(losses.soft_cross_entropy)),
    "penalties": tuple(
        Minus(cross_entropy, 1.0, reconstruction_error(held(value))) for value in (1, 2)
    ),
    "starts": (Among(torch.zeros(1, 1, 6, 6)), Among(torch.ones(1, 1, 6, 6))),
    "functions that are attacks": (
        Guarded(BALL, partial(shifted, by=0.1)),
        Guarded(BALL, partial(shifted, by=0.2)),
    ),
    "objectives": (
        TRADES(threat=BALL),
        TRADES(threat=BALL, divergence=losses.soft_cross_entropy),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_differs_is_called_otherwise(name):
    one, other = PAIRS[name]
    assert recorded(one) != recorded(other)
    assert recorded(one) == recorded(one)
    assert " at 0x" not in recorded(one) + recorded(other)


def test_what_is_made_again_is_called_the_same():
    assert recorded(held(1)) == recorded(held(1))
    assert recorded(network(3)) == recorded(network(3))
    assert recorded(Stepping(3)) == recorded(Stepping(3))
    assert recorded(math.sqrt) == "sqrt"
    assert recorded(Among(torch.ones(1, 1, 6, 6))) == recorded(Among(torch.ones(1, 1, 6, 6)))


def test_losses_of_holdfast_go_by_their_names():
    assert repr(cross_entropy) == "cross_entropy"
    assert repr(toward(3)) == "toward(3)[towards_cross_entropy]"


def test_a_function_that_holds_itself_has_a_name():
    def again(x: Tensor) -> Tensor:
        return again(x)

    assert recorded(again) == recorded(again)


def test_what_has_no_module_and_no_source_has_a_name():
    """As in a notebook, or a block of a page."""
    known: list[dict[str, object]] = [{}, {}]
    for place, factor in enumerate((2, 3)):
        exec(f"def mine(x):\n    return {factor} * x", known[place])
    one, other = (recorded(names["mine"]) for names in known)
    assert one != other


@pytest.mark.parametrize(
    "attacks",
    [
        [Guarded(BALL, partial(shifted, by=by)) for by in (0.0, 0.1)],
        [PGD(BALL, steps=2, goal=AverageOf({"a": network(seed)})) for seed in (0, 1)],
        [
            Boundary(L2(1.0), queries=40, start=Among(torch.full((1, 1, 6, 6), v)))
            for v in (0.0, 1.0)
        ],
    ],
    ids=["function", "sources", "starts"],
)
@pytest.mark.filterwarnings("ignore:.*asked the model nothing:UserWarning")
def test_a_folder_is_not_taken_for_that_of_another_attack(attacks, tmp_path: Path):
    model, x = random_linear(5, 36), images(6)
    y = model(x).argmax(dim=1)
    one, other = attacks
    evaluate(model, x, y, {"a": one}, out=tmp_path / "run")
    evaluate(model, x, y, {"a": one}, out=tmp_path / "run")  # goes on, and is finished
    with pytest.raises(OutputError):
        evaluate(model, x, y, {"a": other}, out=tmp_path / "run")
