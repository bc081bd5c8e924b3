"""Passes of ``holdfast evaluate``: those of each attack at each size on each model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
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
        times
        * of_attack(
            attack, options["norm"], size, found.shape, found.classes, target(model, asked, known)
        )
        for model in attacked
        for attack in options["attacks"]
        for size, times in _sizes(options["eps"])
    )
    repeats = len(options["model"]) if given else 1
    return int(found.images * each * repeats * len(options["seed"]))


def _sizes(eps: Sequence[float]) -> Iterator[tuple[float, int]]:
    """The largest size of those that have a limit, and how many these are; and one without.

    What stands in for a network gives way at a share of the size, so that most attacks take as many
    passes at any; one that searches beyond the ball too takes the most at the largest.
    """
    for _, alike in groupby(sorted(eps), key=math.isinf):
        *_, largest = sizes = list(alike)
        yield largest, len(sizes)
