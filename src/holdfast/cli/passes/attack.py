"""Passes of an attack on a model, with all variants of it that the model's layers call for."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from torch import nn

from holdfast.attacks import Attack
from holdfast.attacks.adaptive import chosen, combined, variants_of
from holdfast.certify.smoothing import named_noise
from holdfast.cli import registry
from holdfast.cli.passes.bench import Bench, Known, is_purified
from holdfast.declarations import is_stochastic
from holdfast.evaluation.forecast import passes_of
from holdfast.models import loading
from holdfast.models.purified import PURIFIED
from holdfast.specs import split


class Target(NamedTuple):
    """What decides which variants of an attack there are.

    Attributes:
        layers: in front of the network, as they were written.
        purified: whether the network begins with a chain.
        sigma: of the noise in front of it all; None if there is none.
        noise: which.
        samples: draws that a gradient is an average over.
        votes: draws of an answer.
        penalties: weights of R.
        variants: that are run; all if there are none.
        each: whether each of them is run for itself, and not on what the others left.
    """

    layers: tuple[str, ...]
    purified: bool
    sigma: float | None = None
    noise: str = "gaussian"
    samples: int = 10
    votes: int = 100
    penalties: tuple[float, ...] = (1.0,)
    variants: tuple[str, ...] = ()
    each: bool = False


def target(spec: str, options: Mapping[str, Any], known: Known) -> Target:
    """A model as the options of an evaluation say that it is to be attacked."""
    *layers, network = split(spec, "|")
    return Target(
        tuple(layers),
        is_purified(network, known),
        options["sigma"],
        options["noise"] or "gaussian",
        options["samples"] or 10,
        options["votes"] or 100,
        tuple(options["penalties"] or (1.0,)),
        tuple(options["variants"]),
        options["each"],
    )


@cache
def of_attack(
    spec: str, norm: str, eps: float, shape: tuple[int, ...], classes: int, on: Target
) -> int:
    """Passes of an image at most: of all variants together."""
    attack = registry.attack(spec, registry.threat(norm, eps))
    return of_variants(attack, model_of(on, shape, classes), shape, classes, on)


def of_variants(
    attack: Attack, model: nn.Module, shape: tuple[int, ...], classes: int, on: Target
) -> int:
    """The same, of an attack that is there, on a model of the layers that the target has."""
    called = variants_of(attack, model, samples=on.samples, votes=on.votes, weights=on.penalties)
    ways = chosen(called, on.variants)
    if on.each or len(ways) == 1:
        return sum(passes_of(one.attack, shape, classes).most for one in ways)
    stochastic = is_stochastic(model)
    worst = combined(attack, ways, votes=on.votes, stochastic=stochastic)
    return passes_of(worst, shape, classes).most


def model_of(on: Target, shape: tuple[int, ...], classes: int) -> nn.Module:
    """A network with the layers of a target, in evaluation mode."""
    bench = Bench(shape, classes, {})
    network = PURIFIED if on.purified else "network"
    with bench.standing_in():
        model = loading.load(" | ".join((*on.layers, network)), shape)
        if on.sigma is not None:
            model = named_noise(on.noise).around(model, on.sigma, shape).model
    return model.eval()
