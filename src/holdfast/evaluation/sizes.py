"""Sizes that share their work: an image that falls at one needs no attack at a larger one.

An adversarial image is allowed in every larger ball. It is handed on with its own distance, the
model is asked about it again at each size, and only what stands is attacked there. An attack that
looks for the smallest perturbation is run once, without a limit, and its distances tell of the
sizes of the others (`holdfast.metrics.at_finite_sizes`).
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from holdfast.attacks import Attack
from holdfast.evaluation.adapting import Named

__all__ = ["run_once", "smaller_sizes"]


def run_once(attacks: Named) -> Named:
    """The attacks, those that look for the smallest perturbation without a limit.

    Only where other attacks in the same norm keep their sizes: nothing else would tell at which to
    read them.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import DDN, PGD
        >>> from holdfast.evaluation.sizes import run_once
        >>> named = [(kind.__name__, kind(L2(eps))) for kind in (PGD, DDN) for eps in (0.1, 0.2)]
        >>> [(name, attack.threat.eps) for name, attack in run_once(named)]
        [('PGD', 0.1), ('PGD', 0.2), ('DDN', inf)]
    """
    kept = {attack.threat for _, attack in attacks if not _looks_for_smallest(attack)}
    made: list[tuple[str, Attack]] = []
    for name, attack in attacks:
        sizes = {
            other.threat
            for called, other in attacks
            if (called, other.threat.name) == (name, attack.threat.name)
        }
        if _looks_for_smallest(attack) and len(sizes) > 1 and sizes <= kept:
            attack = replace(attack, threat=attack.threat.unlimited())  # type: ignore[call-arg]
        if (name, attack) not in made:
            made.append((name, attack))
    return made


def _looks_for_smallest(attack: Attack) -> bool:
    return attack.finds_smallest and not getattr(attack, "early_stop", False)


def smaller_sizes(attacks: Named) -> Mapping[int, int]:
    """For each attack the place of the one of that name at the next smaller size, if there is one.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.evaluation.sizes import smaller_sizes
        >>> smaller_sizes([("pgd", PGD(Linf(eps))) for eps in (0.3, 0.1, 0.2)])
        {2: 1, 0: 2}
    """
    ladders = defaultdict(list)
    for place, (name, attack) in enumerate(attacks):
        if math.isfinite(attack.threat.eps):
            ladders[name, attack.threat.name].append((attack.threat.eps, place))
    return {
        larger: smaller
        for ladder in ladders.values()
        for (_, smaller), (_, larger) in pairwise(sorted(ladder))
    }
