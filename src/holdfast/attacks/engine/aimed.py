"""How many of the first classes an attack pushes the label out of, and how votes tell it."""

from typing import Any

from holdfast.attacks.engine.roles import Role, parts_of, roles_of
from holdfast.goals import AverageOf, Minus, TopMargin
from holdfast.types import Goal, Model
from holdfast.votes import MeanScore, Vote


def aimed_at(attack: Any) -> int:
    """What k an attack has all of whose goals, and its parts', are ``TopMargin(k)``; else 1.

    With several k the smallest: such an attack may stop there.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import BPDA, PGD, DeepFool
        >>> from holdfast.attacks.engine.aimed import aimed_at
        >>> from holdfast.goals import TopMargin
        >>> aimed_at(BPDA(PGD(Linf(0.3), goal=TopMargin(5)))), aimed_at(DeepFool(Linf(0.3)))
        (5, 1)
    """
    found = [aimed_at(part) for part in parts_of(attack)]
    for name, role in roles_of(type(attack)).items():
        value = getattr(attack, name)
        if role in (Role.GOAL, Role.AIM) and value is not None:
            found += map(_of_goal, value if type(value) is tuple else (value,))
    return min(found, default=1)


def deciding(model: Model, votes: int, aim: Goal) -> Model:
    """A model by so many draws, as an aim is asked of it.

    By majority vote; of more than the first class by mean scores, since most classes have no vote.

    Example:
        >>> from holdfast.attacks.engine.aimed import deciding
        >>> from holdfast.goals import TopMargin, margin
        >>> [type(deciding(model, 30, aim)).__name__ for aim in (margin, TopMargin(2))]
        ['Vote', 'MeanScore']
    """
    return (Vote if _of_goal(aim) == 1 else MeanScore)(model, votes)


def _of_goal(goal: object) -> int:
    if isinstance(goal, Minus | AverageOf):
        return _of_goal(goal.goal)
    return goal.top if isinstance(goal, TopMargin) else 1
