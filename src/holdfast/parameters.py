"""Whether parameters are what their annotations promise: checked by the annotation, in one place.

A function or a frozen record says once, in its signature, what it takes. Here a value is held
against that, so that ``steps=1.5`` and ``goal="margin"`` are refused before any work starts, and no
method has to check its own types.
"""

import functools
import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args, get_type_hints

import numpy as np

from holdfast.annotations import fits, handed, told
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
    if not fits(value, annotation):
        hint = ""
        if isinstance(value, str) and getattr(annotation, "_is_protocol", False):
            hint = " itself; names stand for things on the command line alone"
        elif isinstance(annotation, type) and callable(value) and handed(annotation):
            hint = f", which is called with {', '.join(handed(annotation))}"
        raise InputTypeError(f"{name} is {_brief(value)}, but must be {told(annotation)}{hint}.")
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


def _brief(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number with more digits than Python prints
        text = "a very large number"
    except Exception:  # an object of the user's own
        text = kind_of(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
