"""An attack with another size, or another aim, as libraries say both with each call."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from holdfast.attacks import Attack
from holdfast.attacks.engine.roles import Role, rebuilt
from holdfast.errors import InputError, InputTypeError
from holdfast.goals import Toward, toward
from holdfast.types import Labels, TargetedGoal

__all__ = ["nothing_more", "toward_classes", "within"]


def within(attack: Attack, eps: float) -> Attack:
    """The attack in a ball of another size; lengths of steps that were given stay as they are.

    Raises:
        InputError: if that is no size.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.bridges.aims import within
        >>> within(PGD(Linf(0.3)), 0.1).threat
        Linf(eps=0.1)
    """

    def sized(threat: Any) -> Any:
        return replace(threat, eps=eps)

    return _everywhere(attack, {Role.THREAT: sized})


def toward_classes(attack: Attack, target: Labels) -> Attack:
    """The attack with the goal that each image is taken for its target.

    Args:
        attack: one with a goal.
        target: (N,) class that each image of the batch is to be taken for.

    Raises:
        InputError: if the attack has no goal, or chooses its classes itself.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.bridges.aims import toward_classes
        >>> target = (y + 1) % 3
        >>> x_adv = toward_classes(PGD(Linf(1.0)), target)(model, x, y)
        >>> bool((model(x_adv).argmax(dim=1) == target).all())
        True
    """
    seen: list[Toward] = []

    def aimed(goal: Any) -> Toward:
        if TargetedGoal in type(goal).__mro__:
            raise InputError(
                f"{attack!r} chooses the classes that it goes towards by itself; for a target of "
                "your own choose an attack with one goal, such as PGD or APGD."
            )
        seen.append(toward(target))
        return seen[-1]

    changed = _everywhere(attack, {Role.GOAL: aimed})
    if not seen:
        raise InputError(
            f"{attack!r} has no goal that could be a class; for a targeted attack choose one with "
            "a goal, such as PGD."
        )
    return changed


def nothing_more(arguments: Mapping[str, Any]) -> None:
    """Refuse what a library's call was given beyond what it knows; None says nothing, and passes.

    Raises:
        InputTypeError: if there is something.

    Example:
        >>> from holdfast.bridges.aims import nothing_more
        >>> nothing_more({"steps": 1000})
        Traceback (most recent call last):
        holdfast.errors.InputTypeError: the call was given steps, which it does not know: ...
    """
    unknown = [name for name, value in arguments.items() if value is not None]
    if unknown:
        raise InputTypeError(
            f"the call was given {', '.join(unknown)}, which it does not know: leave it out, or "
            "say it to the attack as it is made, such as PGD(Linf(0.1), steps=1000)."
        )


def _everywhere(attack: Attack, changes: Mapping[Role, Callable[[Any], Any]]) -> Attack:
    """The changes in an attack and in all that it is made of."""

    def inner(part: Attack) -> Attack:
        return _everywhere(part, changes)

    return rebuilt(attack, {**changes, Role.ATTACK: inner})
