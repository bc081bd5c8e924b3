"""What a part that a user hands over is called in a record: two that differ are called otherwise.

A run folder is known by the text of its attacks and objectives, so that a function, a model or
images among their parts are told apart by what they do or hold, as far as that can be seen.
"""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
from torch import Tensor, nn

from holdfast.tensors import bytes_of, fingerprint

__all__ = ["recorded", "with_fields"]

#: Whose functions are known by their names: a record holds the versions.
_VERSIONED = ("holdfast", "torch")


def recorded(part: object) -> str:
    """The name of a part, with a digest where the name alone does not say which it is.

    A function of Holdfast or torch is its name; another its name and a digest of its source and of
    what it has taken in from around it; a partial names its arguments. A module is its class and a
    digest of its weights and of what it prints, a tensor its shape and a digest, an object that has
    no text of its own its class and a digest of what it holds.

    Example:
        >>> from functools import partial
        >>> from holdfast.losses import clipped_cross_entropy
        >>> from holdfast.recorded import recorded
        >>> recorded(clipped_cross_entropy)
        'clipped_cross_entropy'
        >>> recorded(partial(clipped_cross_entropy, least=1e-3))
        'clipped_cross_entropy(least=0.001)'
        >>> recorded(lambda x: x) == recorded(lambda x: 2 * x)
        False
    """
    return _recorded(part, ())


def with_fields(part: Any) -> str:
    """A dataclass as its ``repr`` would write it, its fields by their recorded names.

    Example:
        >>> from dataclasses import dataclass
        >>> from holdfast.losses import margin
        >>> from holdfast.recorded import with_fields
        >>> @dataclass(repr=False)
        ... class Mine:
        ...     loss: object = margin
        >>> with_fields(Mine())
        'Mine(loss=margin)'
    """
    told = (f"{each.name}={recorded(getattr(part, each.name))}" for each in fields(part))
    return f"{type(part).__name__}({', '.join(told)})"


def _recorded(part: object, around: tuple[object, ...]) -> str:
    if any(part is one for one in around):
        return "..."  # a function that holds itself
    around = (*around, part)
    match part:
        case Tensor():
            return f"tensor{list(part.shape)}:{_digest([bytes_of(part)])}"
        case np.ndarray():  # whose own text leaves out the middle
            return f"array{list(part.shape)}:{_digest([part.tobytes()])}"
        case nn.Module():
            # Its text has what no weight shows, such as the noise of a layer.
            known = [fingerprint(part).encode(), repr(part).encode()]
            return f"{type(part).__name__}:{_digest(known)}"
        case partial():
            return f"{_recorded(part.func, around)}({_listed(part.args, part.keywords, around)})"
        case MethodType():
            return f"{_recorded(part.__self__, around)}.{part.__name__}"
        case FunctionType():
            return _of_function(part, around)
        case dict():
            return f"{{{_listed((), part, around)}}}"
        case list() | tuple():
            return f"[{_listed(part, {}, around)}]"
        case BuiltinFunctionType():
            return part.__qualname__
    if type(part).__repr__ is object.__repr__:  # would be an address
        return _of_object(part, around)
    return repr(part)


def _listed(
    values: Iterable[object], named: Mapping[str, object], around: tuple[object, ...]
) -> str:
    told = [_recorded(value, around) for value in values]
    return ", ".join([*told, *(f"{k}={_recorded(value, around)}" for k, value in named.items())])


def _of_function(function: FunctionType, around: tuple[object, ...]) -> str:
    made = inspect.unwrap(function)  # a check of types around it is no part of it
    versioned = str(made.__module__).partition(".")[0] in _VERSIONED  # None of what exec made
    if versioned and not getattr(made, "__closure__", None):
        return function.__name__
    held = [cell.cell_contents for cell in function.__closure__ or () if _is_full(cell)]
    taken = [*held, *(function.__defaults__ or ()), function.__kwdefaults__ or {}]
    source = None if function.__name__ == "<lambda>" else _source(function)
    code = source or _digest(_bytecode(function))
    return f"{function.__name__}:{_digest([code.encode(), _listed(taken, {}, around).encode()])}"


def _of_object(part: object, around: tuple[object, ...]) -> str:
    held = _listed((), getattr(part, "__dict__", {}), around)
    code = _source(type(part)) or ""
    return f"{type(part).__qualname__}:{_digest([code.encode(), held.encode()])}"


def _is_full(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:  # not assigned yet
        return False
    return True


def _bytecode(function: FunctionType) -> list[bytes]:
    """Of a function whose source is not to be had, or of a lambda, whose source is a whole line."""
    code = function.__code__
    return [code.co_code, repr([*code.co_names, *map(_plain, code.co_consts)]).encode()]


def _plain(constant: object) -> object:
    """A constant without an address: an inner function is its code."""
    return constant.co_code if inspect.iscode(constant) else constant


def _digest(parts: Iterable[bytes]) -> str:
    content = hashlib.sha256()
    for part in parts:
        content.update(part)
    return content.hexdigest()[:16]


def _source(of: Callable[..., Any]) -> str | None:
    """A hash of the source of a function or a class without its comments; None if not to be had."""
    try:
        text = ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(of))))
    except (OSError, TypeError, SyntaxError):  # built in, typed into a prompt, or a part of a line
        return None
    return _digest([text.encode()])
