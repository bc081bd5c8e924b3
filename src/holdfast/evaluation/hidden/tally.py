"""Passes that the search for what hides takes, of the model, its copies and its parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Tally:
    """Passes of single images; one of a part alone counts as one of the whole, so they are many.

    Attributes:
        forwards: through the model, a copy of it, or one of its modules.
        backwards: the same, back.
    """

    forwards: int = 0
    backwards: int = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Within the block whatever is asked is counted here."""
        token = _tally.set(self)
        try:
            yield
        finally:
            _tally.reset(token)

    def record(self) -> dict[str, int]:
        """As run.json holds it."""
        return {"forwards": self.forwards, "backwards": self.backwards}


_tally: ContextVar[Tally | None] = ContextVar("holdfast_search", default=None)


def asks(images: int, *, back: bool = False) -> None:
    """Count a pass of so many images, with the way back if that is taken."""
    tally = _tally.get()
    if tally is not None:
        tally.forwards += images
        tally.backwards += images * back
