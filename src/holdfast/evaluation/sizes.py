"""Sizes that share their work: an image that falls at one needs no attack at a larger one.

An adversarial image is allowed in every larger ball. It is handed on with its own distance, the
model is asked about it again at each size, and only what stands is attacked there. An attack that
looks for the smallest perturbation is run once: without a limit where other attacks keep the sizes
at which to read its distances (`holdfast.metrics.at_finite_sizes`), and else at its largest size,
off which the smaller ones are read.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from holdfast.attacks import Attack
from holdfast.attacks.engine.aimed import aimed_at
from holdfast.attacks.engine.roles import stops_early
from holdfast.evaluation.adapting import Named

__all__ = ["read_off", "run_once", "smaller_sizes"]


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
    return attack.finds_smallest and not stops_early(attack)


def smaller_sizes(attacks: Named) -> Mapping[int, int]:
    """For each attack the place of the one of that name at the next smaller size, if there is one.

    Not for attacks that look for the smallest perturbation; see `read_off`. Nor for those that push
    the label out of more than the first class: what has lost the first alone is not done with.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.evaluation.sizes import smaller_sizes
        >>> smaller_sizes([("pgd", PGD(Linf(eps))) for eps in (0.3, 0.1, 0.2)])
        {2: 1, 0: 2}
    """
    return {
        larger: smaller
        for ladder in _ladders(attacks)
        for smaller, larger in pairwise(ladder)
        if not _looks_for_smallest(attacks[larger][1])
        and aimed_at(attacks[larger][1]) == 1
        and math.isfinite(attacks[larger][1].threat.eps)
    }


def read_off(attacks: Named) -> Mapping[int, int]:
    """For each attack that need not be run the place of the one at the next larger size.

    That is of an attack that looks for the smallest perturbation: what it found there answers here.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import DDN
        >>> from holdfast.evaluation.sizes import read_off
        >>> read_off([("ddn", DDN(L2(eps))) for eps in (3.0, 1.0, 2.0)])
        {1: 2, 2: 0}
    """
    return {
        smaller: larger
        for ladder in _ladders(attacks)
        for smaller, larger in pairwise(ladder)
        if _looks_for_smallest(attacks[larger][1])
    }


def _ladders(attacks: Named) -> list[list[int]]:
    """The places of each attack in each norm, by size."""
    ladders = defaultdict(list)
    for place, (name, attack) in enumerate(attacks):
        ladders[name, attack.threat.name].append((attack.threat.eps, place))
    return [[place for _, place in sorted(ladder)] for ladder in ladders.values()]
