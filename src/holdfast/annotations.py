"""What an annotation takes, and how it is said in words.

A protocol of one function is an annotation too: what is called must take as many arguments as the
protocol hands it.
"""

import functools
import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from jaxtyping import AbstractArray
from torch import nn


def fits(value: object, annotation: Any) -> bool:
    """Whether a value is what an annotation says; one that says nothing to test fits anything.

    So do tensors with a shape, of which `holdfast.checks` says more.
    """
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind is Annotated:  # what else is said about it, a role, is not about its type
        return fits(value, parts[0])
    if kind in (Union, UnionType):
        return any(fits(value, part) for part in parts)
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
            fits(key, parts[0]) and fits(each, parts[1]) for key, each in value.items()
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


def told(annotation: Any) -> str:
    """An annotation in words."""
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return told(parts[0])
    if kind in (Union, UnionType):
        return " or ".join(told(part) for part in parts)
    if kind is Literal:
        return " or ".join(repr(part) for part in parts)
    if kind is os.PathLike:
        return "a path"
    if kind is tuple and parts[-1:] == (...,):
        return f"a tuple, each of its parts {told(parts[0])}"
    if kind is tuple:
        return f"a tuple of {' and '.join(told(part) for part in parts)}"
    if kind is get_origin(Sequence[Any]):
        return f"a list, each of its parts {told(parts[0])}"
    if kind is get_origin(Mapping[Any, Any]):
        return f"a dict of {told(parts[1])} by {told(parts[0])}"
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
    words |= {NoneType: "None"}
    name = getattr(annotation, "__name__", str(annotation))
    article = "an" if name[:1] in "AEIOU" else "a"
    return words.get(annotation, "a function" if kind is not None else f"{article} {name}")


@functools.cache
def handed(annotation: type) -> tuple[str, ...]:
    """What a protocol of one function hands it by place; nothing where it is something else."""
    if not getattr(annotation, "_is_protocol", False) or "__call__" not in vars(annotation):
        return ()
    _, *takes = inspect.signature(annotation.__call__).parameters.values()
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(one.name for one in takes if one.kind in by_place and one.default is one.empty)


def _each_fits(values: Sequence[object], parts: tuple[Any, ...]) -> bool:
    if parts[-1:] == (...,):
        return all(fits(value, parts[0]) for value in values)
    return len(values) == len(parts) and all(map(fits, values, parts))


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
    by_place = handed(annotation)
    if not by_place or not callable(value):
        return True
    call = value.forward if isinstance(value, nn.Module) else value
    try:
        takes = inspect.signature(call)
    except (TypeError, ValueError):  # built in, and says nothing
        return True
    try:
        takes.bind(*by_place)
    except TypeError:
        return False
    return True
