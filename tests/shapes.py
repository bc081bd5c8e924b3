"""Type hints checked while the tests run: by beartype, and their shapes within each call.

jaxtyping's own decorator binds every call's arguments and checks them twice, also where no hint has
a shape, which took a quarter of the tests' time; its look at an array is tests/axes.py's.
"""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, SimpleNamespace
from typing import Any, get_args, get_type_hints
from unittest.mock import patch

import jaxtyping
import pandas as pd
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, config, install_import_hook, jaxtyped

from tests.axes import axes_of, look_here, within_a_call

look_here()
# Python 3.11 lists a protocol's members at every look at an instance.
if hasattr(typing, "_get_protocol_attrs"):
    typing._get_protocol_attrs = functools.cache(typing._get_protocol_attrs)
for _kind in (pd.Series, pd.Index):
    if not hasattr(_kind, "__class_getitem__"):  # in pandas 2, and the hook evaluates type hints
        _kind.__class_getitem__ = classmethod(lambda made, _: made)


class HintError(TypeError):
    """A value that its hint does not allow."""


# As PEP 484 reads type hints: an int is welcome where a float is.
_by_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=HintError))


@contextmanager
def checking(package: str) -> Iterator[None]:
    """What is imported of a package meanwhile is checked at every call."""
    with patch.object(jaxtyping, "jaxtyped", _decorator), install_import_hook(package, None):
        yield


def _decorator(*, typechecker: object) -> Callable[[Any], Any]:
    """What the hook writes before every function and class."""
    return _of_class_or_function


def _of_class_or_function(made: Any) -> Any:
    if not inspect.isclass(made):
        return _checked(made)
    init = vars(made).get("__init__")
    if dataclasses.is_dataclass(made) and init is not None and not hasattr(init, "__wrapped__"):
        made.__init__ = _checked(init)
    return made


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    known = _with_known_hints(function)
    shapes = [hint for each in known.__annotations__.values() for hint in _shapes(each)]
    if shapes and inspect.isgeneratorfunction(function):  # runs on after its call
        return within_a_call(jaxtyped(function, typechecker=_by_beartype), here=False)
    by_beartype = _by_beartype(known)
    if by_beartype is known:  # nothing to check
        return function
    check = by_beartype
    if shapes:
        here = all(map(axes_of, shapes))
        check = within_a_call(by_beartype if here else _by_jaxtyping(by_beartype), here=here)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return (function if config.jaxtyping_disable else check)(*args, **kwargs)

    return checked


def _by_jaxtyping(by_beartype: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with jaxtyped("context"):
            return by_beartype(*args, **kwargs)

    return call


def _with_known_hints(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; hints written as text are read, and any value is welcome if they can't."""
    hints = {
        name: _read(hint, function.__globals__) for name, hint in function.__annotations__.items()
    }
    same = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    same = functools.update_wrapper(same, function)
    same.__kwdefaults__ = function.__kwdefaults__
    same.__annotations__ = hints
    del same.__wrapped__
    return same


def _read(hint: Any, names: dict[str, Any]) -> Any:
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"hint": hint}), names)["hint"]
    except Exception:  # a name that only type checkers see, or a class that is being made
        return Any


def _shapes(hint: Any) -> Iterator[type[AbstractArray]]:
    """The hints with a shape in a hint."""
    if isinstance(hint, list):  # a callable's arguments
        for each in hint:
            yield from _shapes(each)
    elif inspect.isclass(hint) and issubclass(hint, AbstractArray):
        yield hint
    else:
        for each in get_args(hint):
            yield from _shapes(each)
