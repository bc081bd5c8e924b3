"""Roles: what adaptivity may change in an attack, declared by the types of its fields.

    goal: Goal              what is ascended, or TargetedGoal: R takes a penalty off it
    gradient: Gradient      how its gradient is estimated: EOT averages it
    attack: Attack          what the attack is made of, and reached in turn; or tuple[Attack, ...]
    early_stop: EarlyStop   stops an image at its first lucky draw: off where there is randomness
    abort_early: AbortEarly leaves a search that gains no more: off where its dearest run is told
    votes: Votes            draws that decide a prediction: more where there is randomness
    aim: Aim                a goal that only tells when an image is broken: nothing changes it
    threat: Threat, step_size: Length, start: Start
                            grow and shrink together, where a size is drawn at random

What a field is called says nothing. A goal, a gradient or an attack in a field whose type does not
say so would be passed over without a word, and the defence it meets would look stronger than it is:
that is refused where the class is made.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, fields, replace
from enum import Enum, auto
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, TypeAlias, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as hints_of

from holdfast.attacks.engine.starts import Start
from holdfast.errors import RoleError
from holdfast.types import Goal, Gradient, TargetedGoal, Threat

__all__ = ["AbortEarly", "Aim", "EarlyStop", "Length", "Votes"]


class Role(Enum):
    """What a field is to adaptivity."""

    GOAL = auto()
    GRADIENT = auto()
    ATTACK = auto()
    EARLY_STOP = auto()
    ABORT_EARLY = auto()
    VOTES = auto()
    AIM = auto()
    THREAT = auto()
    LENGTH = auto()
    START = auto()


#: Whether an image stops at the first point that reaches the goal.
EarlyStop: TypeAlias = Annotated[bool, Role.EARLY_STOP]

#: Whether an image leaves a search that no longer gains, before its steps are made.
AbortEarly: TypeAlias = Annotated[bool, Role.ABORT_EARLY]

#: How many draws of a stochastic model decide what it answers.
Votes: TypeAlias = Annotated[int, Role.VOTES]

#: When an image counts as broken, and nothing that is ascended.
Aim: TypeAlias = Annotated[Goal, Role.AIM]

#: Of a step, in the threat's norm.
Length: TypeAlias = Annotated[float, Role.LENGTH]

A = TypeVar("A")

_KNOWN: dict[type, Mapping[str, Role]] = {}


def rebuilt(attack: A, changes: Mapping[Role, Callable[[Any], Any]]) -> A:
    """The attack with other values in the fields of some roles; None is left as it is.

    Args:
        attack: any attack.
        changes: by role, what to make of a value; of each part where a field holds a tuple.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.attacks.engine.roles import Role, rebuilt
        >>> rebuilt(PGD(Linf(0.3)), {Role.EARLY_STOP: lambda _: False}).early_stop
        False
    """
    changed: dict[str, Any] = {}
    for name, role in roles_of(type(attack)).items():
        value = getattr(attack, name)
        if role in changes and value is not None:
            each = type(value) is tuple
            change = changes[role]
            changed[name] = tuple(change(part) for part in value) if each else change(value)
    return replace(attack, **changed) if changed else attack  # type: ignore[type-var]


def parts_of(attack: Any) -> list[Any]:
    """The attacks that an attack is made of.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import BPDA, PGD
        >>> from holdfast.attacks.engine.roles import parts_of
        >>> parts_of(BPDA(PGD(Linf(0.3)))) == [PGD(Linf(0.3))]
        True
    """
    found: list[Any] = []
    for name, role in roles_of(type(attack)).items():
        value = getattr(attack, name)
        if role is Role.ATTACK and value is not None:
            found += value if type(value) is tuple else [value]
    return found


def dearest(attack: Any) -> Any:
    """The attack as it is where none of its searches is left before its end.

    Example:
        >>> import math
        >>> from holdfast import L2
        >>> from holdfast.attacks import BPDA, CarliniWagner
        >>> from holdfast.attacks.engine.roles import dearest
        >>> dearest(BPDA(CarliniWagner(L2(math.inf)))).attack.abort_early
        False
    """
    return rebuilt(attack, {Role.ABORT_EARLY: lambda _: False, Role.ATTACK: dearest})


def stops_early(attack: Any) -> bool:
    """Whether an attack, or one that it is made of, stops images at the first point that fools.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import BPDA, FGSM, PGD
        >>> from holdfast.attacks.engine.roles import stops_early
        >>> stops_early(BPDA(PGD(Linf(0.3)))), stops_early(FGSM(Linf(0.3)))
        (True, False)
    """
    own = [name for name, role in roles_of(type(attack)).items() if role is Role.EARLY_STOP]
    return any(getattr(attack, name) for name in own) or any(map(stops_early, parts_of(attack)))


def roles_of(kind: type) -> Mapping[str, Role]:
    """The fields of an attack's class that have a role.

    Raises:
        RoleError: if a field holds a goal, a gradient or an attack in a way that cannot be reached.

    Example:
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.attacks.engine.roles import roles_of
        >>> {name: role.name for name, role in roles_of(FGSM).items()}
        {'threat': 'THREAT', 'goal': 'GOAL', 'gradient': 'GRADIENT'}
    """
    if kind in _KNOWN:
        return _KNOWN[kind]
    found: dict[str, Role] = {}
    for name, hint in hints_of(kind, include_extras=True).items():
        if get_origin(hint) is ClassVar or hint is ClassVar:
            continue
        role, default = _role(hint), getattr(kind, name, None)
        default = default.default if isinstance(default, Field) else default
        if role is None and (_mentions(hint) or _kind_of_value(default) is not None):
            raise RoleError(
                f"{kind.__name__}.{name} is annotated {_told(hint)}, and holds a goal, a gradient "
                "or an attack that EOT, BPDA and R cannot reach: annotate it Goal, Gradient, "
                "Attack or a tuple of these, or Aim if it only tells when an image is broken."
            )
        if role is not None:
            found[name] = role
    return _KNOWN.setdefault(kind, found)


def check_reached(attack: Any) -> None:
    """Refuse a value with a role in a field without one, such as an attack in ``extra: Any``.

    Raises:
        RoleError: if there is one.
    """
    roles = roles_of(type(attack))
    for entry in fields(attack):
        value = getattr(attack, entry.name)
        if entry.name not in roles and (role := _kind_of_value(value)) is not None:
            raise RoleError(
                f"{type(attack).__name__}.{entry.name} holds {_brief(value)}, but its type does "
                f"not say so, and EOT, BPDA and R could not reach it: annotate it {role}."
            )


def _role(hint: Any) -> Role | None:
    """The role of a field of that type; None also where a role is hidden in it."""
    if get_origin(hint) is Annotated:
        marks = [mark for mark in get_args(hint)[1:] if isinstance(mark, Role)]
        return marks[0] if marks else _role(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        found = {_role(part) for part in get_args(hint) if part is not NoneType}
        return found.pop() if len(found) == 1 else None
    if get_origin(hint) is tuple:
        inner = {_role(part) for part in get_args(hint) if part is not ...}
        role = inner.pop() if len(inner) == 1 else None
        return role if role in (Role.GOAL, Role.GRADIENT, Role.ATTACK) else None
    if hint is Goal or hint is TargetedGoal:
        return Role.GOAL
    if hint is Gradient:
        return Role.GRADIENT
    if hint is Threat:
        return Role.THREAT
    if hint is Start:
        return Role.START
    return Role.ATTACK if _is_attack(hint) else None


def _mentions(hint: Any) -> bool:
    """Whether a goal, a gradient or an attack stands anywhere in a type."""
    bases = hint.__mro__ if isinstance(hint, type) else ()
    named = any(base in bases for base in (Goal, TargetedGoal, Gradient))
    return named or _is_attack(hint) or any(map(_mentions, get_args(hint)))


def _is_attack(hint: Any) -> bool:
    bases = hint.__mro__ if isinstance(hint, type) else ()
    return any(vars(base).get("_is_attack", False) for base in bases)


def _kind_of_value(value: Any) -> str | None:
    """How to annotate a field that holds this, if it has a role."""
    for part in value if isinstance(value, tuple | list) else (value,):
        bases = type(part).__mro__
        for role in (Goal, TargetedGoal, Gradient):
            if role in bases:
                return role.__name__
        if _is_attack(type(part)):
            return "Attack"
    return None


def _told(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
