"""Checks of how hard the attacks tried: the leading one watched, longer, from other starts."""

from dataclasses import fields, replace
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from holdfast.attacks import PGD, Attack, adapted
from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.roles import Role, rebuilt
from holdfast.auditing.asked import Some
from holdfast.auditing.check import Finding, NotRun
from holdfast.auditing.shares import at_least
from holdfast.errors import GradientError
from holdfast.evaluation.auditing.check import of_model
from holdfast.evaluation.auditing.subject import Subject
from holdfast.goals import cross_entropy
from holdfast.losses import margin as margin_of
from holdfast.types import Images, Step, Threat

#: As in `others`.
_LIMIT, _FAILS = 0.01, 0.05

#: How many times as many steps.
_TIMES = 4

#: Runs from other starts.
_RESTARTS = 3

#: Iterations at the end of an attack in which its loss should hardly rise.
_LAST = 10


@of_model(
    "C6",
    "Four times the steps fool nothing more",
    limit=_LIMIT,
    fails=_FAILS,
    why="An attack that still gains has not converged.",
    then="Give the attacks more steps, until nothing more falls.",
    weight=40,
)
def more_steps(subject: Subject) -> Finding:
    """Carlini et al. 2019, section 5.5: more iterations do not help.

    By how much the accuracy is too high at least, after four times the steps of the attack that
    followed gradients and left fewest.
    """
    name, attack = subject.leading
    longer = _longer(attack)
    if longer == attack:
        raise NotRun(f"{name} has no number of steps.")
    some = subject.some_left(_TIMES * subject.leading_cost())
    return subject.too_high(subject.fallen(longer, some, "C6"), f"four times the steps of {name}")


@of_model(
    "C7",
    "Other starts fool nothing more",
    limit=_LIMIT,
    fails=_FAILS,
    why="On a plateau or a rough loss it matters where an attack begins.",
    then="Give the attacks restarts from random starts.",
    weight=35,
)
def more_restarts(subject: Subject) -> Finding:
    """Carlini et al. 2019, section 5.5: random restarts.

    By how much the accuracy is too high at least, after three more runs of the attack that followed
    gradients and left fewest, each from a random start where it has any.
    """
    name, attack = subject.leading
    some = subject.some_left(_RESTARTS * subject.leading_cost())
    fallen = torch.zeros(len(some), dtype=torch.bool, device=some.x.device)
    begun = _from_random(attack)
    for number in range(_RESTARTS):
        fallen |= subject.fallen(begun, some, "C7", str(number))
    return subject.too_high(fallen, f"{_RESTARTS} more starts of {name}")


class _Path:
    """What an attack was seen to do, step by step: values, and whether a point fooled.

    A point beyond the ball is no success: attacks that look for the nearest one pass many.

    Args:
        x0: (N, C, H, W) where it began.
        threat: the ball.
    """

    def __init__(self, x0: Images, threat: Threat) -> None:
        self._x0, self._threat = x0, threat
        self.values: list[list[float]] = [[] for _ in range(len(x0))]
        self.reached = [False] * len(x0)

    def __call__(self, step: Step) -> None:
        apart = self._threat.distance(step.x.detach(), self._x0[step.position])
        within = step.reached & (apart <= self._threat.eps).to(step.reached.device)
        for position, value, reached in zip(
            step.position.tolist(), step.value.tolist(), within.tolist(), strict=True
        ):
            self.values[position].append(value)
            self.reached[position] |= reached


class _Watched(NamedTuple):
    """The leading attack, run again on images left."""

    name: str
    attack: Attack
    some: Some
    path: _Path
    x_adv: Images


#: Of each subject; three checks look at one run.
_SEEN: WeakKeyDictionary[Subject, _Watched] = WeakKeyDictionary()


def _watched(subject: Subject) -> _Watched:
    """The leading attack again, once for all checks that look at its way."""
    if subject.stochastic:
        raise NotRun("what a single draw says on the way says little.")
    if subject not in _SEEN:
        name, attack = subject.leading
        some = subject.some_left(subject.leading_cost(), most=8)
        path, seed = _Path(some.x, subject.threat), subject.rng(some, "watched").key
        try:
            x_adv = attack(
                subject.model, some.x, some.y, seed=seed, index=some.index, callback=path
            )
        except GradientError as error:
            raise NotRun(f"{error}") from error
        _SEEN[subject] = _Watched(name, attack, some, path, x_adv)
    return _SEEN[subject]


@of_model(
    "I3",
    "No image fell on the way and was given back",
    limit=0.05,
    fails=0.3,
    why="An attack that passes a fooling point and returns another reports its failure.",
    then="Keep the best point so far, or stop at the first that fools.",
    weight=24,
)
def silent_success(subject: Subject) -> Finding:
    """Pintor et al. 2022, indicator 3: silent success.

    The share of images left that the attack fooled at a step and not at the end.
    """
    name, _, some, path, x_adv = _watched(subject)
    fallen = subject.fooled_by(x_adv, some, subject.threat, "watched")
    silent = int((torch.tensor(path.reached) & ~fallen.cpu()).sum())
    return Finding(
        at_least(silent, len(some)),
        f"{name} passed a fooling point of {silent} of {len(some)} images",
    )


@of_model(
    "I4",
    "The attack's loss has come to rest",
    limit=0.3,
    fails=0.7,
    why="A loss that still rises at the last steps would rise further with more.",
    then="Give the attack more steps, or larger ones.",
    weight=24.1,
)
def incomplete(subject: Subject) -> Finding:
    """Pintor et al. 2022, indicator 4: incomplete optimisation.

    The share of images left whose loss, scaled to [0, 1] and made monotone, rises by more than 0.05
    in the last ten steps; of attacks with more than ten.
    """
    name, _, _, path, _ = _watched(subject)
    flagged = told = 0
    for values in path.values:
        if len(values) <= _LAST:
            continue
        line = torch.tensor(values, dtype=torch.float64).cummax(dim=0).values
        told += 1
        flagged += bool((line[-1] - line[-_LAST - 1]) > 0.05 * (line[-1] - line[0]).clamp(min=1e-9))
    if not told:
        raise NotRun(f"{name} takes no more than {_LAST} steps.")
    return Finding(
        at_least(flagged, told), f"{name} was still rising on {flagged} of {told} images left"
    )


@of_model(
    "T-loss",
    "The loss rises where the margin does",
    limit=0.2,
    fails=0.5,
    why="Ascending a loss that does not lead to another class leads nowhere.",
    then="Ascend the margin (goal=margin), or a loss made for the model.",
    weight=24.2,
)
def loss_agrees(subject: Subject) -> Finding:
    """Tramèr et al. 2020: the loss must agree with success.

    The share of images left for which the attack's loss and the margin are ranked otherwise than
    alike (Spearman's ρ below 0) at nine points between the image and one that the attack reached.
    """
    _, attack, some, _, x_adv = _watched(subject)
    subject.purse.images(2 * 9, len(some), len(some))
    goal = attack.goal if isinstance(attack, Climb) else cross_entropy
    values, margins = [], []
    rng = subject.rng(some, "between")
    with torch.no_grad(), subject.alone():
        score = goal(subject.model, some.x, some.y)
        for number in range(9):
            x = some.x + number / 8 * (x_adv - some.x)
            values.append(score(x).value.double())
            margins.append(margin_of(subject.logits(x, rng), some.y).double())
    correlation = _spearman(torch.stack(values), torch.stack(margins))
    against = int((correlation < 0).sum())
    return Finding(
        at_least(against, len(some)),
        f"loss and margin disagree along the way for {against} of {len(some)}",
    )


@of_model(
    "T-draws",
    "Gradients over more draws fool nothing more",
    limit=_LIMIT,
    fails=_FAILS,
    why="A gradient of few draws is mostly noise.",
    then="Give the attack more --samples.",
    weight=48,
)
def more_draws(subject: Subject) -> Finding:
    """Athalye et al. 2018, section 4.2; Tramèr et al. 2020: EOT over draws until nothing changes.

    By how much the accuracy is too high at least, after PGD of 20 steps whose gradients are
    averages over four times the draws.
    """
    if not subject.stochastic:
        raise NotRun("the model draws no random numbers.")
    some = subject.some_left(_TIMES * subject.cost(20))
    attack = adapted(
        PGD(subject.metric, steps=20),
        subject.bare,
        samples=_TIMES * subject.samples,
        votes=subject.votes,
        stochastic=True,
    )
    return subject.too_high(subject.fallen(attack, some, "draws"), "four times the draws")


def _longer(attack: Attack) -> Attack:
    """The attack with four times its steps, in all its parts; the steps' length stays."""
    attack = rebuilt(attack, {Role.ATTACK: _longer})
    names = {entry.name for entry in fields(attack)}
    return replace(attack, steps=_TIMES * attack.steps) if "steps" in names else attack  # type: ignore[attr-defined, call-arg]


def _from_random(attack: Attack) -> Attack:
    """The attack from random starts, where it can be told so."""
    attack = rebuilt(attack, {Role.ATTACK: _from_random})
    names = {entry.name for entry in fields(attack)}
    return replace(attack, random_start=True) if "random_start" in names else attack  # type: ignore[call-arg]


def _spearman(one: Tensor, other: Tensor) -> Tensor:
    """(N,) the rank correlation of the columns of two tables; 1 where either is constant."""
    ranks = [table.argsort(dim=0).argsort(dim=0).double() for table in (one, other)]
    centred = [rank - rank.mean(dim=0) for rank in ranks]
    found = (centred[0] * centred[1]).sum(dim=0) / centred[0].square().sum(dim=0).clamp(min=1e-12)
    flat = (one.amax(dim=0) == one.amin(dim=0)) | (other.amax(dim=0) == other.amin(dim=0))
    return torch.where(flat, torch.ones_like(found), found)
