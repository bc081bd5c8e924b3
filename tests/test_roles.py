"""What adaptivity may change in an attack is declared by type: it reaches all of it, or refuses."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import pytest
import torch
from torch import nn

from holdfast import Linf, attacks
from holdfast.attacks import Aim, Attack, EarlyStop, Length, On, Votes, Worst, adaptive
from holdfast.attacks.engine.roles import Role, parts_of, roles_of
from holdfast.attacks.eot import OnMeanScore, against_randomness
from holdfast.attacks.regularized import regularize
from holdfast.attacks.suite import WorstCase
from holdfast.defenses import MALADE, GaussianNoise
from holdfast.errors import RoleError
from holdfast.goals import AgainstPrediction, Minus, cross_entropy, margin
from holdfast.gradients import Autograd, Average, autograd
from holdfast.training import AtRandomSize, against_prediction
from holdfast.training.randomized import scaled
from holdfast.types import Goal, Gradient, Images, Threat
from tests.cases import EACH_NORM, THREATS
from tests.toys import images, small_network


@dataclass(frozen=True, kw_only=True)
class Unusual(Attack):
    """An attack with names of its own for everything."""

    threat: Threat = field(kw_only=False)
    objective: Goal = cross_entropy
    also: tuple[Goal, ...] = (cross_entropy, margin)
    slope: Gradient | None = autograd
    first_luck: EarlyStop = True
    jurors: Votes = 1
    stride: Length | None = 0.5
    inner: tuple[Attack, ...] = ()
    broken_when: Aim = margin
    patience: int = 3

    def perturb(self, model, x0, y, rng, callback=None):
        return x0


INNER = Unusual(Linf(0.1))
OUTER = Unusual(Linf(0.1), inner=(INNER, INNER))


def penalty(x: Images) -> torch.Tensor:
    return x.flatten(1).sum(dim=1)


def everywhere(attack: Attack) -> list[Attack]:
    """An attack and all that it is made of, but not what is crafted on another model."""
    inner = [] if isinstance(attack, On) else parts_of(attack)
    return [attack, *(deep for part in inner for deep in everywhere(part))]


class TestFieldsOfAnyName:
    def test_randomness_reaches_all_of_it(self):
        changed = against_randomness(OUTER, 7, votes=9)
        assert len(everywhere(changed)) == 3
        for part in everywhere(changed):
            assert part.slope == Average(samples=7)
            assert (part.first_luck, part.jurors, part.patience) == (False, 9, 3)

    def test_a_penalty_reaches_all_of_it_but_the_aim(self):
        for part in everywhere(regularize(OUTER, 2.0, penalty)):
            assert part.objective == Minus(cross_entropy, 2.0, penalty)
            assert part.also == (Minus(cross_entropy, 2.0, penalty), Minus(margin, 2.0, penalty))
            assert part.broken_when == margin

    def test_labels_are_hidden_from_all_of_it(self):
        for part in everywhere(against_prediction(OUTER)):
            assert part.objective == AgainstPrediction(cross_entropy)

    def test_a_size_reaches_all_of_it(self):
        for part in everywhere(scaled(OUTER, 0.5)):
            assert (part.threat, part.stride, part.patience) == (Linf(0.05), 0.25, 3)

    def test_none_is_left_as_it_is(self):
        bare = Unusual(Linf(0.1), slope=None, stride=None)
        assert against_randomness(bare, 7).slope is None
        assert scaled(bare, 0.5).stride is None


class TestWhatCannotBeReached:
    @pytest.mark.parametrize(
        "hint",
        [
            list[Goal],
            dict[str, Gradient],
            Callable[[], Attack],
            Goal | int,
            tuple[Goal, int],
            Average,
            type(margin),
        ],
    )
    def test_is_refused_where_the_class_is_made(self, hint):
        with pytest.raises(RoleError, match=r"Hidden\.wish .*annotate it Goal"):
            type("Hidden", (Attack,), {"__annotations__": {"wish": hint}})

    @pytest.mark.parametrize("default", [cross_entropy, autograd, INNER])
    def test_is_refused_as_a_default(self, default):
        with pytest.raises(RoleError, match=r"Hidden\.wish"):
            type("Hidden", (Attack,), {"__annotations__": {"wish": Any}, "wish": default})

    @pytest.mark.parametrize("value", [cross_entropy, Average(samples=2), INNER, (INNER,)])
    def test_is_refused_as_a_value(self, value):
        @dataclass(frozen=True, kw_only=True)
        class Loose(Attack):
            threat: Threat = field(kw_only=False)
            extra: Any = None

            def perturb(self, model, x0, y, rng, callback=None):
                return x0

        assert Loose(Linf(0.1), extra=3).extra == 3
        with pytest.raises(RoleError, match=r"Loose\.extra holds"):
            Loose(Linf(0.1), extra=value)


def bare(part: Attack, on_mean: bool) -> list[str]:
    """Fields of one attack that adaptivity should have changed for a noisy model.

    Where an attack meets mean scores, one of them is what many draws say.
    """
    found = []
    for name, role in roles_of(type(part)).items():
        value = getattr(part, name)
        for each in value if isinstance(value, tuple) else (value,):
            if role is Role.GRADIENT and isinstance(each, Autograd):
                found.append(f"{type(part).__name__}.{name}: an exact gradient")
            if role is Role.EARLY_STOP and each is True:
                found.append(f"{type(part).__name__}.{name}: an early stop")
            if role is Role.VOTES and each == 1 and not on_mean:
                found.append(f"{type(part).__name__}.{name}: one vote")
    return found


@pytest.mark.parametrize(("case", "norm"), EACH_NORM, ids=str)
def test_no_exported_attack_keeps_what_randomness_deceives(case, norm):
    model = nn.Sequential(GaussianNoise(0.1), small_network())
    for variant in adaptive(case.make(THREATS[norm](1.0)), model, samples=3, votes=30).values():
        parts = everywhere(variant)
        mean = [
            part for each in parts if isinstance(each, OnMeanScore) for part in everywhere(each)
        ]
        assert not [line for part in parts for line in bare(part, on_mean=part in mean)]


@pytest.mark.parametrize(("case", "norm"), EACH_NORM, ids=str)
def test_every_goal_of_an_attack_that_follows_gradients_meets_the_purifier(case, norm):
    """An R variant takes the error off all goals; where there is none, there is no such variant."""
    chain = MALADE(nn.Identity(), steps=1, alpha=0.1, delta=0.1, sigma=1.0)
    variants = adaptive(case.make(THREATS[norm](1.0)), nn.Sequential(chain, small_network()))
    goals = {
        role
        for part in everywhere(case.make(THREATS[norm](1.0)))
        for role in roles_of(type(part)).values()
    }
    follows = any(name == "bpda" for name in variants)
    assert ("r" in variants) == (follows and Role.GOAL in goals)
    for part in everywhere(variants["r"]) if "r" in variants else ():
        for name, role in roles_of(type(part)).items():
            if role is Role.GOAL and not isinstance(part, OnMeanScore):
                value = getattr(part, name)
                for goal in value if isinstance(value, tuple) else (value,):
                    assert isinstance(goal, Minus), f"{type(part).__name__}.{name}"


def test_the_parts_of_the_suite_are_reached():
    suite = WorstCase(Linf(0.1), steps=2, targets=2, queries=2)
    regular = regularize(suite, 1.0, penalty)
    assert isinstance(regular, Worst)
    changed = [one != other for one, other in zip(suite.attacks, regular.attacks, strict=True)]
    named = dict(zip(suite.names, changed, strict=True))
    assert named == {
        "apgd-ce": True,
        "second-order": True,
        "apgd-t": True,  # its loss is a goal that is told its target
        "fab-t": False,  # looks at planes, and ascends nothing
        "square": True,
    }


def test_records_carry_the_names_of_the_literature():
    threat = Linf(0.1)
    for made, name in (
        (attacks.PGD(threat, restarts=3), "PGD("),
        (attacks.FGSM(threat), "FGSM("),
        (attacks.APGDT(threat), "APGDT("),
        (attacks.Square(threat, restarts=2), "Square("),
        (AtRandomSize(attack=attacks.PGD(threat)), "AtRandomSize(attack=PGD("),
    ):
        assert repr(made).startswith(name)
        assert not [entry for entry in fields(made) if not entry.init]


def test_the_records_of_a_run_do_not_depend_on_the_call():
    assert repr(attacks.PGD(Linf(0.1))) == repr(attacks.PGD(threat=Linf(0.1), steps=40))
    x, y = images(2), torch.tensor([0, 1])
    model = small_network()
    one = attacks.PGD(Linf(0.1), steps=2)(model, x, y, seed=5)
    assert torch.equal(one, attacks.PGD(Linf(0.1), steps=2)(model, x, y, seed=5))
    assert not torch.equal(one, attacks.PGD(Linf(0.1), steps=2)(model, x, y, seed=6))
