"""Passes of ``holdfast diagnose purification``: of its attacks, and of every step of the chains."""

from collections.abc import Mapping
from typing import Any

from holdfast.attacks.adaptive import adaptive
from holdfast.cli import registry
from holdfast.cli.passes.about import about
from holdfast.cli.passes.attack import Target, model_of
from holdfast.cli.passes.bench import Known
from holdfast.diagnose.purification import chain_of
from holdfast.errors import unknown
from holdfast.evaluation.forecast import passes_of
from holdfast.models import loading
from holdfast.specs import split


def of_purification(options: Mapping[str, Any], known: Known) -> int | None:
    """Passes at most; at every step of the two images' chains the classifier is asked."""
    found = about({**options, "images": 1}, "test")
    if found.classes is None:
        return None
    total = 0
    for model in options["model"]:
        *layers, network = split(model, "|")
        on = Target(tuple(layers), purified=True)
        for size in options["eps"]:
            attack = registry.attack(options["attack"], registry.threat(options["norm"], size))
            if options["source"] is None:
                name = options["variant"] or "bpda-eot"
                target = model_of(on, found.shape, found.classes)
                variants = adaptive(attack, target, samples=options["samples"] or 10)
                if name not in variants:
                    raise unknown("variant", name, variants)
                attack = variants[name]
            total += passes_of(attack, found.shape, found.classes).most
            total += 2 * (_longest(network, known) + 1)
    return total


def _longest(network: str, known: Known) -> int:
    """Steps of a chain that is there, or the most that a search tries."""
    command, options = known.get(network, ("", {}))
    if command == "tune malade":
        return int(max(options["steps"]))
    layer, _ = chain_of(network, loading.load(network), [1])
    return layer.steps
