"""What an attack has to tell: parts of it that could not run, and what was mended of its results.

Heard where somebody listens, else a warning.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from holdfast.errors import GradientError

_noted: ContextVar[dict[str, int] | None] = ContextVar("holdfast_notes", default=None)
_heard: ContextVar[dict[str, str] | None] = ContextVar("holdfast_skips", default=None)


@contextmanager
def hearing_skips() -> Iterator[dict[str, str]]:
    """Collect the parts that are skipped within the block, however deep: name -> reason.

    Example:
        >>> from holdfast.attacks.skips import hearing_skips, skip
        >>> from holdfast.errors import GradientError
        >>> with hearing_skips() as skipped:
        ...     skip("pgd", GradientError("no gradient reaches the images"))
        >>> skipped
        {'pgd': 'no gradient reaches the images'}
    """
    skipped: dict[str, str] = {}
    token = _heard.set(skipped)
    try:
        yield skipped
    finally:
        _heard.reset(token)


def skip(name: str, reason: GradientError) -> None:
    """Tell that the part ``name`` of a cascade was skipped."""
    heard = _heard.get()
    if heard is None:
        warnings.warn(f"{name} was skipped: {reason}", stacklevel=2)
    else:
        heard[name] = str(reason)


@contextmanager
def hearing_notes() -> Iterator[dict[str, int]]:
    """Collect what is told of images within the block: what -> how many images.

    Example:
        >>> from holdfast.attacks.skips import hearing_notes, note
        >>> with hearing_notes() as noted:
        ...     note("these images were projected", 2)
        ...     note("these images were projected", 1)
        >>> noted
        {'these images were projected': 3}
    """
    noted: dict[str, int] = {}
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def note(what: str, count: int) -> None:
    """Tell something of ``count`` images, if there are any."""
    heard = _noted.get()
    if not count:
        return
    if heard is None:
        warnings.warn(f"{what} ({count})", stacklevel=2)
    else:
        heard[what] = heard.get(what, 0) + count
