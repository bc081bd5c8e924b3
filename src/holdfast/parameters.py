"""Whether parameters are what their annotations promise: checked by the annotation, in one place.

A function or a frozen record says once, in its signature, what it takes. Here a value is held
against that, so that ``steps=1.5`` and ``goal="margin"`` are refused before any work starts, and no
method has to check its own types.
"""

import functools
import inspect
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
from jaxtyping import AbstractArray
from torch import nn

from holdfast.errors import InputError, InputTypeError, kind_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: The most of anything that is done for one image: at a millisecond for each, three hours.
MOST = 10_000_000

#: Up to which whole numbers and floats are each other, in JSON as in Python.
EXACT = 2**53

#: Seeds go further: a whole number of 64 bits, signed or not, as torch's generators take them.
Seed: TypeAlias = Annotated[int, "64 bits"]


def check_fields(record: "DataclassInstance", *, most: int | None = None) -> None:
    """Hold the fields of a dataclass against their annotations, without those it sets itself.

    NumPy's numbers become Python's, which a file can hold and a record shows as what they are.

    Args:
        record: the dataclass.
        most: the largest whole number that is taken for one; None for no limit.

    Raises:
        InputTypeError, InputError: see `check`.
    """
    hints = _hints(type(record))
    for entry in fields(record):
        if entry.init:
            value = getattr(record, entry.name)
            check(entry.name, value, hints[entry.name], most=most)
            if isinstance(value, np.generic):
                object.__setattr__(record, entry.name, value.item())


def check_arguments(
    call: Callable[..., Any], arguments: Mapping[str, Any], *, most: int | None = None
) -> None:
    """Hold named arguments against the annotations of what is to be called with them.

    Args:
        call: a function or class.
        arguments: some of its arguments; names that it does not have are left to Python.
        most: the largest whole number that is taken for one; None for no limit.

    Raises:
        InputTypeError, InputError: see `check`.
    """
    takes = inspect.signature(call, eval_str=True).parameters
    for name, value in arguments.items():
        if name in takes:
            check(name, value, takes[name].annotation, most=most)


def check(name: str, value: object, annotation: Any, *, most: int | None = None) -> None:
    """Hold one value against an annotation.

    Args:
        name: what to call the value.
        value: what was given.
        annotation: what it must be. True and False are no numbers, and neither is NaN.
        most: the largest whole number that is taken where one is expected; None for no limit.

    Raises:
        InputTypeError: if the value is something else.
        InputError: if it is NaN, a finite number from `EXACT` on, or a whole one above ``most``; of
            a `Seed` if it has more than 64 bits.

    Example:
        >>> from holdfast.parameters import Seed, check
        >>> check("seed", 2**64, Seed)
        Traceback (most recent call last):
        holdfast.errors.InputError: seed is 18446744073709551616, but must be a whole number of ...
    """
    parts = value if isinstance(value, tuple | list) else (value,)
    if any(isinstance(part, float | np.floating) and math.isnan(part) for part in parts):
        raise InputError(f"{name} is nan, but must be a number.")
    if not _fits(value, annotation):
        hint = ""
        if isinstance(value, str) and getattr(annotation, "_is_protocol", False):
            hint = " itself; names stand for things on the command line alone"
        elif isinstance(annotation, type) and callable(value) and _handed(annotation):
            hint = f", which is called with {', '.join(_handed(annotation))}"
        raise InputTypeError(f"{name} is {_brief(value)}, but must be {_told(annotation)}{hint}.")
    said = (annotation, *get_args(annotation))
    for part in parts:
        if Seed in said:
            _check_seed(name, part)
        else:
            _check_size(name, part, most if int in said else None)


def _check_size(name: str, value: object, most: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or math.isinf(value):
        return
    if isinstance(value, Integral) and most is not None and int(value) > most:
        raise InputError(
            f"{name} is {_brief(value)}, but at most {most:,} is taken: at a millisecond for each, "
            "so many already take hours for a single image."
        )
    if not -EXACT < float(value) < EXACT:
        raise InputError(
            f"{name} is {_brief(value)}, but must be below 2^53, from where on numbers that differ "
            "by one are written as the same."
        )


def _check_seed(name: str, value: object) -> None:
    if isinstance(value, Integral) and not -(2**63) <= int(value) < 2**64:
        raise InputError(f"{name} is {_brief(value)}, but must be a whole number of 64 bits.")


def check_title(what: str, title: object) -> None:
    """A title stands in files and tables: text of which something is seen there.

    Raises:
        InputTypeError: if it is no text.
        InputError: if it is blank, or cannot be printed.

    Example:
        >>> from holdfast.parameters import check_title
        >>> check_title("the model", "runs/net")
        >>> check_title("the model", " ")
        Traceback (most recent call last):
        holdfast.errors.InputError: the model is called ' ', which no table can show; ...
    """
    check(f"the name of {what}", title, str)
    if not str(title).strip() or not str(title).isprintable():
        raise InputError(
            f"{what} is called {title!r}, which no table can show; give it a name that can be read."
        )


def at_least_one(**numbers: int | None) -> None:
    """Raise if one of the numbers is below 1; None passes.

    Raises:
        InputError: if it is; the sentence has its name.

    Example:
        >>> from holdfast.parameters import at_least_one
        >>> at_least_one(steps=40, restarts=0)
        Traceback (most recent call last):
        holdfast.errors.InputError: restarts is 0, but must be at least 1.
    """
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise InputError(f"{name} is {number}, but must be at least 1.")


def check_top(top: int, classes: int | None = None) -> None:
    """Raise unless being among the first ``top`` classes says something.

    Args:
        top: k, of top-k accuracy.
        classes: K, which is more than that; None if it is not known yet.

    Raises:
        InputError: if k is below 1, or there are no more classes.

    Example:
        >>> from holdfast.parameters import check_top
        >>> check_top(5, classes=3)
        Traceback (most recent call last):
        holdfast.errors.InputError: top is 5, but of 3 classes every label is among the first 3: ...
    """
    at_least_one(top=top)
    if classes is not None and top >= max(classes, 2):
        raise InputError(
            f"top is {top}, but of {classes} classes every label is among the first {classes}: "
            f"give at most {max(classes - 1, 1)}."
        )


def each_once(name: str, values: Iterable[Any]) -> None:
    """Raise if one of the values stands there twice.

    Raises:
        InputError: if it does; the sentence has the name and the value.

    Example:
        >>> from holdfast.parameters import each_once
        >>> each_once("radii", (0.1, 0.2, 0.1))
        Traceback (most recent call last):
        holdfast.errors.InputError: radii has 0.1 twice; leave one of them out.
    """
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise InputError(f"{name} has {twice[0]} twice; leave one of them out.")


def above_zero(**numbers: float) -> None:
    """Raise if one of the numbers is not finite and above 0.

    Raises:
        InputError: if it is not; the sentence has its name.

    Example:
        >>> from holdfast.parameters import above_zero
        >>> above_zero(step_size=0.0)
        Traceback (most recent call last):
        holdfast.errors.InputError: step_size is 0.0, but must be finite and above 0.
    """
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise InputError(f"{name} is {number}, but must be finite and above 0.")


@functools.cache
def _hints(record: "type[DataclassInstance]") -> dict[str, Any]:
    return get_type_hints(record, include_extras=True)


def _fits(value: object, annotation: Any) -> bool:
    """Whether a value is what an annotation says; one that says nothing to test fits anything.

    So do tensors with a shape, of which `holdfast.checks` says more.
    """
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind is Annotated:  # what else is said about it, a role, is not about its type
        return _fits(value, parts[0])
    if kind in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if kind is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if kind is Callable or kind is get_origin(Callable[..., Any]):
        return callable(value)
    if kind is tuple:
        return isinstance(value, tuple) and _each_fits(value, parts)
    if kind is get_origin(Sequence[Any]):
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            return False
        return _each_fits(value, (*parts, ...))
    if kind is get_origin(Mapping[Any, Any]):
        return isinstance(value, Mapping) and all(
            _fits(key, parts[0]) and _fits(each, parts[1]) for key, each in value.items()
        )
    if kind is os.PathLike:
        return isinstance(value, os.PathLike)
    if annotation in (int, float):
        return _is_number(value, Integral if annotation is int else Real)
    if annotation is bool:
        return isinstance(value, bool | np.bool_)
    if kind is None and isinstance(annotation, type):
        return _is_instance(value, annotation)
    return True


def _each_fits(values: Sequence[object], parts: tuple[Any, ...]) -> bool:
    if parts[-1:] == (...,):
        return all(_fits(value, parts[0]) for value in values)
    return len(values) == len(parts) and all(map(_fits, values, parts))


def _is_number(value: object, kind: type[Integral] | type[Real]) -> bool:
    if isinstance(value, bool | np.bool_) or not isinstance(value, kind):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:  # a whole number that no float can hold
        return False


def _is_instance(value: object, annotation: type) -> bool:
    if issubclass(annotation, AbstractArray):
        return True
    try:
        return isinstance(value, annotation) and _is_called_as(value, annotation)
    except TypeError:  # a protocol that cannot be tested
        return True


def _is_called_as(value: object, annotation: type) -> bool:
    """Whether what is to be called takes as many arguments as its protocol hands it.

    A loss in place of a goal is a callable too, and would fail deep within an attack.
    """
    handed = _handed(annotation)
    if not handed or not callable(value):
        return True
    call = value.forward if isinstance(value, nn.Module) else value
    try:
        takes = inspect.signature(call)
    except (TypeError, ValueError):  # built in, and says nothing
        return True
    try:
        takes.bind(*handed)
    except TypeError:
        return False
    return True


@functools.cache
def _handed(annotation: type) -> tuple[str, ...]:
    """What a protocol of one function hands it by place; nothing where it is something else."""
    if not getattr(annotation, "_is_protocol", False) or "__call__" not in vars(annotation):
        return ()
    _, *takes = inspect.signature(annotation.__call__).parameters.values()
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(one.name for one in takes if one.kind in by_place and one.default is one.empty)


def _told(annotation: Any) -> str:
    """An annotation in words."""
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return _told(parts[0])
    if kind in (Union, UnionType):
        return " or ".join(_told(part) for part in parts)
    if kind is Literal:
        return " or ".join(repr(part) for part in parts)
    if kind is os.PathLike:
        return "a path"
    if kind is tuple and parts[-1:] == (...,):
        return f"a tuple, each of its parts {_told(parts[0])}"
    if kind is tuple:
        return f"a tuple of {' and '.join(_told(part) for part in parts)}"
    if kind is get_origin(Sequence[Any]):
        return f"a list, each of its parts {_told(parts[0])}"
    if kind is get_origin(Mapping[Any, Any]):
        return f"a dict of {_told(parts[1])} by {_told(parts[0])}"
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
    words |= {NoneType: "None"}
    name = getattr(annotation, "__name__", str(annotation))
    article = "an" if name[:1] in "AEIOU" else "a"
    return words.get(annotation, "a function" if kind is not None else f"{article} {name}")


def _brief(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number with more digits than Python prints
        text = "a very large number"
    except Exception:  # an object of the user's own
        text = kind_of(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
