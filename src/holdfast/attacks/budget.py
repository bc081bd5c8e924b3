"""What the suite runs for a number of passes an image: cheap parts first, each with its share.

The parts are those that earned their passes on networks of several kinds of training, see
docs/results/attack-strength.md: a short ascent of the cross-entropy; ascents of the margin from
where the network answers differently, along slopes averaged over noise, which see past what
adversarial training has flattened; a few steps towards the nearest classes; more of those ascents,
along averaged slopes and along plain ones; and Square for what hides its gradients. FAB is left
out: it broke nothing there that these had not.

The parts grow dearer, and each says how near to falling an image must have come to be worth the
next: what the early parts leave of its margin tells nearly all of those that fall later. However
near an image came, it is worth Square only if that breaks one of a pilot's. What is chosen for an
image hangs on no other one, so that rows are the same whatever the batch.

In ℓ1 the first averaged slopes are followed by S-O. In ℓ0 no gradient ascent is defined, and the
parts are σ-zero, which finds many components together, greedy search, which finds few, and
Sparse-RS, which breaks more of what stands than either for as many passes; there every image meets
every part.
"""

from collections.abc import Callable
from typing import NamedTuple

from holdfast.attacks.apgd import APGD
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.repeat import RANKED
from holdfast.attacks.fmn import FMN
from holdfast.attacks.greedy import Greedy
from holdfast.attacks.malt import MALT
from holdfast.attacks.odi import ODI
from holdfast.attacks.second_order import SecondOrder, falling_sigma
from holdfast.attacks.sigma_zero import SigmaZero
from holdfast.attacks.sparse_rs import SparseRS
from holdfast.attacks.square import Square
from holdfast.errors import InputError
from holdfast.gradients import Average, autograd
from holdfast.types import Gradient, Threat

__all__ = ["PartWithin", "parts_within"]

#: Draws that a slope averages over: one does as well, and four find less for their passes.
_SAMPLES = 2

#: Passes of a slope, forward and backward; averaged, the image itself is asked about too.
_SLOPE, _AVERAGED = 2, 2 * _SAMPLES + 1

#: Most steps of the ascents; then there are more targets, or more runs.
_MOST = 40

#: Steps along a mix of the logits.
_MIXING = 2

#: Whether a part, or the run towards a target, has broken an image is asked once more.
_ASKED = 1

#: Passes that rank the classes: their logits, and a forward and a backward pass for each.
_RANKING = 2 + RANKED

#: Passes beside the steps of what looks for the fewest components: its last look, and `_ASKED`.
_LAST_LOOK = 11 + _ASKED

#: Passes that measure the margin of the image itself.
_BEGUN = 1

#: Share that is kept for the search without gradients, and passes below which there is none.
_SEARCH, _LEAST_SEARCH = 0.18, 18

#: Fraction of its margin that an image may have left, after a run of few passes, to be near.
_SHORTER = 0.3


class PartWithin(NamedTuple):
    """A part that fits in a budget.

    Attributes:
        name: of the part.
        attack: with its share of the passes.
        near: fraction of its margin that an image may have left to be worth the next part, see
            `holdfast.attacks.Worst`.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks.budget import parts_within
        >>> parts_within(Linf(0.1), budget=1500)[2].near
        0.25
    """

    name: str
    attack: Attack
    near: float


class _Fitted(NamedTuple):
    """An attack, and the passes that it takes for an image that nothing breaks, at most."""

    attack: Attack
    passes: int


class _Part(NamedTuple):
    """A part of the suite."""

    share: float  # of the budget
    least: int  # passes below which it is left out
    worth: int  # passes that it takes whatever its share, if they are there
    near: float  # see `PartWithin`
    telling: int  # passes of a run that tells so much; a shorter one tells `_SHORTER`
    fitted: Callable[[Threat, int], _Fitted]


def parts_within(threat: Threat, budget: int) -> list[PartWithin]:
    """The parts that fit in so many passes of each image, in the order of their running.

    A part takes its share of the budget, or the least that it is worth running with; one that does
    not fit is left out, and where no later one fits, a part takes their passes too. The search
    without gradients takes what is left, for which some passes are kept in budgets of 100 or more.

    Args:
        threat: the ball, with a finite ε.
        budget: forward and backward passes together.

    Raises:
        InputError: if the first part does not fit.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks.budget import parts_within
        >>> [part.name for part in parts_within(Linf(0.1), budget=250)]
        ['apgd-ce', 'odi-averaged', 'malt', 'square']
    """
    left, kept = budget - _BEGUN, int(_SEARCH * budget)
    order = list(_OF_NORMS.get(threat.p, _PARTS).items())
    first, part = order[0]
    if left < part.least:
        least = part.least + _BEGUN
        raise InputError(
            f"the budget is {budget} passes an image, but the first part, {first}, takes {least}; "
            f"give {least} or more."
        )
    if kept < _LEAST_SEARCH:
        kept = 0
    parts: list[PartWithin] = []
    for place, (name, part) in enumerate(order):
        there = left - kept
        if part.least > there:
            continue
        passes = min(max(int(part.share * budget), part.worth), there)
        later = [other.least for _, other in order[place + 1 :]]
        if later and min(later) > there - passes:
            passes = there
        attack, spent = part.fitted(threat, passes)
        near = part.near if passes >= part.telling else _SHORTER
        parts.append(PartWithin(name, attack, near))
        left -= spent
    if left >= _LEAST_SEARCH:
        # However near an image came, what needs no gradient must break one of a pilot's.
        parts[-1] = parts[-1]._replace(near=0.0)
        parts.append(PartWithin(_SEARCHES.get(threat.p, "square"), _search(threat, left), near=1.0))
    return parts


def _ascent(threat: Threat, passes: int) -> _Fitted:
    """APGD, the cheapest of all."""
    looks = min((passes - _ASKED) // _SLOPE, 100)
    attack = APGD(threat, steps=looks - _beside(threat), annealed=threat.p != 1)
    return _Fitted(attack, looks * _SLOPE + _ASKED)


def _nearest(threat: Threat, passes: int) -> _Fitted:
    """Towards the nearest classes: three have most of what there is.

    Others come when those have all the steps that they can use.
    """
    most, left = _MOST + _beside(threat), passes - _RANKING
    targets = min(max(left // (most * _SLOPE + _ASKED), 3), RANKED)
    looks = min((left // targets - _ASKED) // _SLOPE, most)
    attack = MALT(threat, targets=targets, steps=looks - _beside(threat))
    return _Fitted(attack, _RANKING + targets * (looks * _SLOPE + _ASKED))


def _diverted(threat: Threat, passes: int) -> _Fitted:
    """From where the network answers differently."""
    return _from_elsewhere(threat, passes, autograd, _SLOPE)


def _diverted_averaged(threat: Threat, passes: int) -> _Fitted:
    """From where the network answers differently, along slopes averaged over noise."""
    slope = Average(samples=_SAMPLES, noise=falling_sigma(threat))
    return _from_elsewhere(threat, passes, slope, _AVERAGED)


def _averaged(threat: Threat, passes: int) -> _Fitted:
    """S-O: in ℓ1 steps of PGD along averaged slopes find more than APGD's, which grow sparse."""
    steps = (passes - _ASKED) // _AVERAGED
    attack = SecondOrder(threat, steps=steps, samples=_SAMPLES)
    return _Fitted(attack, steps * _AVERAGED + _ASKED)


def _from_elsewhere(threat: Threat, passes: int, gradient: Gradient, slope: int) -> _Fitted:
    """One run, or as many as have all the steps that they can use."""
    beside = _MIXING + _beside(threat)
    runs = max((passes - _ASKED) // ((_MOST + beside) * slope + _ASKED), 1)
    looks = min(((passes - _ASKED) // runs - _ASKED) // slope, _MOST + beside)
    attack = ODI(threat, steps=looks - beside, restarts=runs, mixing=_MIXING, gradient=gradient)
    return _Fitted(attack, _ASKED + runs * (looks * slope + _ASKED))


def _fewest(threat: Threat, passes: int) -> _Fitted:
    """σ-zero until it is within the ball, where a last look asks no more."""
    steps = (passes - _LAST_LOOK) // _SLOPE
    return _Fitted(SigmaZero(threat, steps=steps, early_stop=True), steps * _SLOPE + _LAST_LOOK)


def _one_by_one(threat: Threat, passes: int) -> _Fitted:
    """One component after another."""
    steps = (passes - _LAST_LOOK) // _SLOPE
    return _Fitted(Greedy(threat, steps=steps, early_stop=True), steps * _SLOPE + _LAST_LOOK)


def _beside(threat: Threat) -> int:
    """Points at which an adaptive ascent looks beside its steps: in ℓ1 it is three ascents."""
    return 3 if threat.p == 1 else 1


def _search(threat: Threat, passes: int) -> Attack:
    """For what hides its gradients; Square is defined in ℓ∞ and ℓ2, and FMN takes its place in ℓ1.

    The last look at what FMN finds is not in its passes: steps kept for it would break more images
    than fall so late.
    """
    if threat.p == 0:
        return SparseRS(threat, queries=passes - _ASKED)
    if threat.p == 1:
        return FMN(threat, steps=(passes - _ASKED) // _SLOPE, early_stop=True)
    return Square(threat, queries=passes - _ASKED)


#: In the order of their running.
_PARTS = {
    "apgd-ce": _Part(0.04, 13, 31, 1.0, 0, _ascent),
    "odi-averaged": _Part(0.06, 46, 77, 1.0, 0, _diverted_averaged),
    "malt": _Part(0.087, 50, 50, 0.25, 130, _nearest),
    "odi-averaged-again": _Part(0.3, 120, 120, 0.15, 400, _diverted_averaged),
    "odi": _Part(0.3, 60, 60, 1.0, 0, _diverted),
}

#: In ℓ1 and ℓ0, likewise.
_OF_NORMS = {
    1.0: {
        "apgd-ce": _PARTS["apgd-ce"],
        "second-order": _PARTS["odi-averaged"]._replace(fitted=_averaged),
        "malt": _PARTS["malt"],
        "odi-averaged": _PARTS["odi-averaged-again"],
        "odi": _PARTS["odi"],
    },
    0.0: {
        "sigma-zero": _Part(0.25, 30, 60, 1.0, 0, _fewest),
        "greedy": _Part(0.25, 30, 60, 1.0, 0, _one_by_one),
    },
}

#: What the search without gradients is called, where it is not Square.
_SEARCHES = {1.0: "fmn", 0.0: "sparse-rs"}
