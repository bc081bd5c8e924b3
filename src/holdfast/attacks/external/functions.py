"""Any function as an attack by its name: ``mypackage.attacks:mine(steps=20)``."""

import inspect
from collections.abc import Callable
from functools import partial

from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.guarded import Guarded
from holdfast.errors import AttackError, InputError, kind_of
from holdfast.imports import imported
from holdfast.specs import arguments, parse, plain
from holdfast.types import Threat

__all__ = ["function_attack"]


def function_attack(spec: str, threat: Threat) -> Attack | None:
    """The function that a spec names, held to a threat; None if the spec names no module.

    Parameters are handed to the function by name, and so is the threat: as ``threat``, or its size
    as ``eps``, if it takes one. A class of attack made by Holdfast's rules is what it is.

    Args:
        spec: ``package.module:function``, with parameters if wanted.
        threat: what the attack may do.

    Raises:
        AttackError: if the module cannot be imported, or has no such function.
        InputError: if the function does not take these parameters.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks.external.functions import function_attack
        >>> function_attack("pgd(steps=20)", Linf(0.1)) is None
        True
    """
    if ":" not in spec.partition("(")[0]:
        return None
    read = parse(spec, "attack", "mypackage.attacks:mine(steps=20)")
    target = imported(read.name, "--attacks", AttackError)
    parameters = {key: plain(value) for key, value in read.parameters.items()}
    if inspect.isclass(target) and issubclass(target, Attack):
        known = list(inspect.signature(target).parameters)[1:]
        make: Callable[..., Attack] = target
        return make(threat, **arguments(read, "attack", target, known))
    if not callable(target):
        raise AttackError(
            f"{read.name} is {kind_of(target)}, but an attack is a function (model, x, y) -> x_adv."
        )
    takes = inspect.signature(target).parameters
    given = {"threat": threat, "eps": threat.eps}
    parameters |= {key: value for key, value in given.items() if key in takes}
    try:
        inspect.signature(target).bind(None, None, None, **parameters)
    except TypeError as error:
        raise InputError(
            f"{read.name} does not take what {spec} gives it ({error}): an attack is a function "
            "(model, x, y) -> x_adv, its other parameters by name."
        ) from error
    return Guarded(threat, partial(target, **parameters) if parameters else target, name=spec)
