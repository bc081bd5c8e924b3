"""Building: what a spec says, made by whatever its name stands for."""

import inspect
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_origin

from holdfast.errors import InputError, UnknownNameError, nearest, unknown
from holdfast.parameters import check, check_arguments
from holdfast.specs.reading import Spec, parse, plain

T = TypeVar("T")

#: Named things that parameters may be, by the parameter: ``{"goal": {"margin": margin}}``.
Choices = Mapping[str, Mapping[str, Any]]

NO_CHOICES: Choices = MappingProxyType({})

#: Parameters of 0.1, and what they may be called now.
_RENAMED: Mapping[str, tuple[str, ...]] = MappingProxyType({"share": ("weight", "fraction")})


def build(
    text: str,
    kind: str,
    named: Mapping[str, Callable[..., T]],
    *first: Any,
    example: str,
    choices: Choices = NO_CHOICES,
    most: int | None = None,
) -> T:
    """Make what a spec says.

    Args:
        text: the spec.
        kind: what it names, for messages.
        named: what makes the things of that kind, by name; its annotations say what it takes.
        first: arguments that come first and that no one writes, such as an attack's threat.
        example: a right spec, for messages.
        choices: named things that parameters may be.
        most: the largest whole number that is taken for a parameter.

    Raises:
        UnknownNameError: if there is no such name or parameter.
        InputError, InputTypeError: if a parameter is missing or wrong.

    Example:
        >>> from holdfast.specs import build
        >>> from holdfast.training.optimizers import SGD
        >>> build("sgd(momentum=0.5)", "optimizer", {"sgd": SGD}, example="sgd").momentum
        0.5
    """
    spec = parse(text, kind, example)
    call = find(spec, kind, named)
    known = list(inspect.signature(call).parameters)[len(first) :]
    return call(*first, **arguments(spec, kind, call, known, choices=choices, most=most))


def find(spec: Spec, kind: str, named: Mapping[str, T]) -> T:
    """What a spec's name stands for.

    Raises:
        UnknownNameError: if nothing has that name.

    Example:
        >>> from holdfast.specs import find, parse
        >>> find(parse("half(of=3)"), "share", {"half": 1 / 2, "third": 1 / 3})
        0.5
    """
    if spec.name not in named:
        raise unknown(kind, spec.name, named)
    return named[spec.name]


def arguments(
    spec: Spec,
    kind: str,
    call: Callable[..., Any],
    known: Collection[str],
    *,
    choices: Choices = NO_CHOICES,
    most: int | None = None,
) -> dict[str, Any]:
    """The parameters of a spec as ``call`` takes them, held against its annotations.

    Args:
        spec: what was written.
        kind: what it names, for messages.
        call: what is to be called.
        known: the parameters that may be written.
        choices: named things that parameters may be.
        most: the largest whole number that is taken for one.

    Raises:
        UnknownNameError: if ``call`` has no such parameter, or a choice no such name.
        InputError, InputTypeError: if a parameter is missing or wrong.

    Example:
        >>> from holdfast.specs import arguments, parse
        >>> from holdfast.training.optimizers import SGD
        >>> arguments(parse("sgd(momentum=0.5)"), "optimizer", SGD, ["lr", "momentum"])
        {'momentum': 0.5}
    """
    takes = inspect.signature(call, eval_str=True).parameters
    found = {}
    for key, value in spec.parameters.items():
        if key not in known:
            raise no_parameter(f"{kind} {spec.name}", key, known)
        annotation = takes[key].annotation if key in takes else Any
        found[key] = _resolved(key, value, annotation, choices, most)
    for key in known:
        if key in takes and takes[key].default is inspect.Parameter.empty and key not in found:
            raise InputError(f"{kind} {spec.name} needs {key}, as in {spec.name}({key}=...).")
    check_arguments(call, found, most=most)
    return found


def no_parameter(what: str, key: str, known: Collection[str]) -> UnknownNameError:
    """The error for a parameter that does not exist: its new name, the nearest one, or all.

    Example:
        >>> from holdfast.specs import no_parameter
        >>> str(no_parameter("attack pgd", "stepz", ["steps", "restarts"]))
        "attack pgd has no parameter stepz; did you mean 'steps'?"
    """
    new = next((name for name in _RENAMED.get(key, ()) if name in known), None)
    if new is not None:
        return UnknownNameError(f"{what} has no parameter {key} any more; write {new} instead.")
    near = nearest(key, known)
    some = f"it has {', '.join(known)}" if known else "it has none at all"
    return UnknownNameError(
        f"{what} has no parameter {key}; " + (f"did you mean {near!r}?" if near else f"{some}.")
    )


def _resolved(key: str, value: Any, annotation: Any, choices: Choices, most: int | None) -> Any:
    """A parameter's value: of a spec, the thing that it names, or its text."""
    if key not in choices:
        value = plain(value)
        if isinstance(value, list) and tuple in _origins(annotation):
            return tuple(value)
        return value
    if isinstance(value, str):
        raise InputError(f"{key} is {value!r}, but the name of a {key} stands without quotes.")
    if not isinstance(value, Spec):
        check(key, value, annotation)
        return value
    thing = find(value, key, choices[key])
    if isinstance(thing, type):
        known = list(inspect.signature(thing).parameters)
        return thing(**arguments(value, key, thing, known, choices=choices, most=most))
    if value.parameters:
        raise no_parameter(f"{key} {value.name}", next(iter(value.parameters)), ())
    return thing


def _origins(annotation: Any) -> set[Any]:
    return {get_origin(part) or part for part in (annotation, *get_args(annotation))}
