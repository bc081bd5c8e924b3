"""Whether an array fits a hint with a shape: jaxtyping's rules, in a tenth of its time.

jaxtyping reads off an array's type, and copies what it knows of a call's axes, at every look, which
took an eighth of the tests' time. Here a type is asked about once, and a call's axes are one
dictionary of their sizes. Hints with more in them than Holdfast's are left to jaxtyping.
"""

import threading
from collections.abc import Callable
from functools import cache
from itertools import chain
from typing import Any, Literal, NamedTuple

from jaxtyping import AbstractArray

Hint = type[AbstractArray]


class _Axes(NamedTuple):
    """What a hint says of a shape: names, also of axes that count as one, before others' names."""

    before: tuple[str, ...]
    several: str | None
    after: tuple[str, ...]


class _Call(threading.local):
    """The call that is checked in this thread."""

    #: How long its axes have turned out to be; None where jaxtyping knows, or there is no call.
    sizes: dict[str, Any] | None = None


#: Axes of any length, each time.
_ANY = ("_", "...")

_call = _Call()
_jaxtyping_says = type(AbstractArray).__instancecheck_str__  # nothing if it fits, else why not

#: An array's type, once it was asked about: the axes that its hint wants, or False if it does not
#: allow the type.
_wanted: dict[tuple[Hint, type, Any], _Axes | Literal[False]] = {}


def look_here() -> None:
    """From now on ``isinstance(array, hint)`` asks `fits`."""
    kind: Any = type(AbstractArray)
    kind.__instancecheck__ = fits
    kind.__instancecheck_str__ = _why_not


def within_a_call(check: Callable[..., Any], *, here: bool) -> Callable[..., Any]:
    """The same function, whose calls have axes of their own, known here or to jaxtyping."""
    call, fresh = _call, {} if here else None

    def within(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        around, call.sizes = call.sizes, fresh
        try:
            return check(*args, **kwargs)
        finally:
            call.sizes = around

    return within


@cache
def axes_of(hint: Hint) -> _Axes | None:
    """The axes of a hint, if each has a name or stands for any."""
    names = hint.dim_str.split()
    if not all(name == "..." or name.removeprefix("*").isidentifier() for name in names):
        return None
    several = [place for place, name in enumerate(names) if name[0] in "*."]
    if not several:
        return _Axes(tuple(names), None, ())
    (place,) = several
    return _Axes(tuple(names[:place]), names[place], tuple(names[place + 1 :]))


def fits(hint: Hint, value: Any) -> bool:
    """Whether a value is an array of a hint's type and shape; if it is, its axes are known."""
    call = _call
    known = call.sizes
    if known is None:
        return not _jaxtyping_says(hint, value)
    try:
        key = hint, type(value), value.dtype
        shape = value.shape
    except AttributeError:
        return False
    axes = _wanted.get(key)
    if axes is None:
        wrong_type = _jaxtyping_says(hint.dtype[hint.array_type, "..."], value)
        axes = _wanted[key] = False if wrong_type else axes_of(hint)
    if not axes:
        return False
    before, several, after = axes
    rest = len(shape) - len(before) - len(after)
    if rest < 0 or (rest and several is None):
        return False
    places = zip(before, shape, strict=several is None)
    if several is not None:
        end = len(before) + rest
        behind = zip(after, shape[end:], strict=True)
        places = chain(places, [(several, shape[len(before) : end])], behind)
    known = known.copy()  # an array that does not fit adds nothing
    for name, size in places:
        if known.setdefault(name, size) != size and name not in _ANY:
            return False
    call.sizes = known
    return True


def _why_not(hint: Hint, value: Any) -> str:
    """For who reads the error."""
    if _call.sizes is None:
        return _jaxtyping_says(hint, value)
    if fits(hint, value):
        return ""
    sizes = ", ".join(f"{name} = {size}" for name, size in _call.sizes.items())
    return f"it does not fit {hint.__name__} where {sizes or 'no axis is known yet'}"
