"""Passes of ``holdfast evaluate``: those of each attack at each size on each model."""

from collections.abc import Mapping
from typing import Any

from holdfast.cli.passes.about import about
from holdfast.cli.passes.attack import of_attack, target
from holdfast.cli.passes.bench import Known


def of_evaluation(options: Mapping[str, Any], known: Known) -> int | None:
    """Passes at most; what is crafted on other models calls for what these do."""
    found = about(options, "test")
    if found.images is None or found.classes is None:
        return None
    given = options["source"]
    attacked = given or options["model"]
    # Noise stands in front of the models that are measured, not of those that are crafted on.
    asked = {**options, "sigma": None} if given else options
    each = sum(
        of_attack(
            attack, options["norm"], size, found.shape, found.classes, target(model, asked, known)
        )
        for model in attacked
        for attack in options["attacks"]
        for size in options["eps"]
    )
    repeats = len(options["model"]) if given else 1
    return int(found.images * each * repeats * len(options["seed"]))
