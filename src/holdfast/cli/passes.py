"""About how many passes a command will take, before it is run.

Each attack is tried as `holdfast.evaluation.forecast` does it, and each objective on one image of a
linear model that nothing fools, so that a number is the most that it can be on a network without
layers that call for adaptive variants.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from holdfast import specs
from holdfast.certify.config import CertificationConfig
from holdfast.certify.intervals.interval import INTERVALS
from holdfast.cli import registry
from holdfast.counting import Counted
from holdfast.data import Data
from holdfast.errors import HoldfastError
from holdfast.evaluation.forecast import passes_of
from holdfast.random import Stream

#: Images to train on and to test on, of the data sets that have so many always, and their shape.
_SIZES = {
    "digits": (1297, 500, (1, 8, 8)),
    "mnist": (60_000, 10_000, (1, 28, 28)),
    "cifar10": (50_000, 10_000, (3, 32, 32)),
}


def passes(command: str, options: Mapping[str, Any]) -> int | None:
    """Forward and backward passes of single images, at most; None if it cannot be told.

    Args:
        command: as typed after ``holdfast``.
        options: as read from the rest.
    """
    training, testing, shape = _SIZES.get(str(options.get("data")), (None, None, (3, 32, 32)))
    try:
        if command == "train":
            images = options["images"] or training
            each = _of_objective(options["objective"], options["norm"], options["eps"], shape)
            return None if images is None else options["epochs"] * images * each
        images = options.get("images") or testing
        if images is None:
            return None
        if command == "evaluate":
            each = sum(
                _of_attack(attack, options["norm"], size, shape)
                for attack in options["attacks"]
                for size in options["eps"]
            )
            return int(images * each * len(options["model"]) * len(options["seed"]))
        return images * _of_certificate(options) if command == "certify" else None
    except HoldfastError:  # such as a network that is yet to be trained
        return None
    except RuntimeError:  # torch's, of a network there is for images of another shape
        return None


class _Firm(nn.Module):
    """A linear model that answers 0, whatever is done to an image."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = nn.Linear(math.prod(shape), 10)
        with torch.no_grad():
            self.layer.weight.mul_(1e-3)
            self.layer.bias.copy_(10.0 * (torch.arange(10) == 0))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.flatten(1))
        return logits


def _of_certificate(options: Mapping[str, Any]) -> int:
    """Votes of an image, and those that only choose its class."""
    chooses = options["top"] == 1 and any(
        specs.find(specs.parse(one, "interval"), "interval", INTERVALS).chooses
        for one in options["intervals"]
    )
    first = CertificationConfig.selection_votes
    return options["votes"] + (options["selection_votes"] or first if chooses else 0)


@cache
def _of_attack(spec: str, norm: str, eps: float, shape: tuple[int, ...]) -> int:
    return passes_of(registry.attack(spec, registry.threat(norm, eps)), shape).most


@cache
def _of_objective(spec: str, norm: str | None, eps: float | None, shape: tuple[int, ...]) -> int:
    x, y, index = _example(shape)  # a teacher or static source that is there already is asked too
    model = Counted(_Firm(shape).train(), index)
    objective = registry.objective(spec, Data.of(x, y), torch.device("cpu"), norm=norm, eps=eps)
    loss, _ = objective(model, x, y, Stream.of(0, index))
    loss.backward()
    return int(model.forwards.sum() + model.backwards.sum())


def _example(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = torch.rand(1, *shape)
    return x, torch.zeros(1, dtype=torch.long), torch.arange(1)
