"""Passes of ``holdfast tune malade``: of the examples, the first attack, and the finalists'."""

import math
from collections.abc import Mapping
from typing import Any

from holdfast.attacks.engine.transfer import spending
from holdfast.cli import registry
from holdfast.cli.passes.about import about
from holdfast.cli.passes.attack import Target, model_of, of_variants
from holdfast.evaluation.forecast import passes_of

#: Passes that an example is asked about beside its attack: before it and after.
_ASKED = 2

#: Numbers of a kind that are tried where none are given; see `holdfast.cli.tune.malade`.
_TRIED = 3


def of_tuning(options: Mapping[str, Any]) -> int | None:
    """Passes at most, of attacks; through a whole chain they are one."""
    found = about({**options, "images": None}, "train")
    if found.images is None or found.classes is None:
        return None
    images = min(options["images"], found.images)
    attack = registry.attack(options["attack"], registry.threat(options["norm"], options["eps"]))
    tried = (len(options[name]) or _TRIED for name in ("alpha", "delta"))
    chains = math.prod((len(options["steps"]), len(options["anneal"]), *tried))
    about_images = found.shape, found.classes
    asked = {"samples": options["samples"], "votes": options["votes"]}
    first = Target((), purified=True, samples=1, votes=options["votes"], variants=("plain", "bpda"))
    whole = Target((), purified=True, **asked)
    model = model_of(whole, *about_images)
    each = [of_variants(attack, model, *about_images, on) for on in (first, whole)]
    numbers = (
        images * (passes_of(spending(attack), *about_images).most + _ASKED),
        chains * min(options["first_images"], images) * each[0],
        min(options["finalists"], chains) * min(options["finalist_images"], images) * each[1],
    )
    return sum(numbers)
