"""Which parts of a cascade could not run, and why: heard where somebody listens, else a warning."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from holdfast.errors import GradientError

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
