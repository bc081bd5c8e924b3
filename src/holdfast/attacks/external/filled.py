"""Handing a threat over to another library, which names norm and size in its own way."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from holdfast.errors import InputError
from holdfast.types import Threat


def filled(
    call: Callable[..., Any],
    parameters: Mapping[str, Any],
    threat: Threat,
    norms: Mapping[str, Any],
    sizes: Collection[str] = ("eps",),
    before: int = 1,
) -> dict[str, Any]:
    """The parameters of a library's attack, with the threat's norm and size where it takes them.

    Args:
        call: the library's class or function.
        parameters: what was written.
        threat: what the attack may do.
        norms: the library's word for each norm that it knows.
        sizes: what it may call the size of the ball.
        before: arguments that it is given by their place, such as the model.

    Raises:
        TypeError: if it does not take them, before anything runs.
        InputError: if it takes no ball in that norm, or size or norm are given beside the threat's.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks.external.filled import filled
        >>> def attack(model, eps=0.3, steps=10, norm="Linf"): ...
        >>> filled(attack, {"steps": 5}, Linf(0.1), {"linf": "Linf"})
        {'steps': 5, 'eps': 0.1, 'norm': 'Linf'}
    """
    signature = inspect.signature(call)
    takes = signature.parameters
    made = dict(parameters)
    size = next((name for name in sizes if name in takes), None)
    for name in ("norm", *sizes):
        if name in made:
            raise InputError(
                f"{name} is {made[name]!r}, but norm and size are those of --norm and --eps: leave "
                f"{name} out of the attack's parameters."
            )
    if size is not None and threat.eps != float("inf"):
        made[size] = threat.eps
    if "norm" in takes:
        if threat.name not in norms:
            raise InputError(
                f"the attack takes no ball in {threat.name}, but in {', '.join(norms)}."
            )
        made["norm"] = norms[threat.name]
    signature.bind(*[None] * before, **made)
    return made
