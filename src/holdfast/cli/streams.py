"""Standard output and error, whatever they can hold and whoever has stopped reading them."""

import codecs
import io
import os
import select
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import TextIO

#: Standard output where it is kept for the answer (`kept_for_the_answer`).
_KEPT: ContextVar[TextIO | None] = ContextVar("_KEPT", default=None)

_IN_WORDS = {
    "–": "-",
    "─": "-",
    "·": ".",
    "×": "x",
    "±": "+-",
    "‖": "|",
    "√": "sqrt ",
    "∞": "inf",
    "∇": "grad ",
    "≤": "<=",
    "≥": ">=",
    "←": "<-",
    "→": "->",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
}


def hold_everything() -> None:
    """Let both streams write in plain letters what their encoding lacks.

    Of a locale without UTF-8, or of a pipe on Windows, it lacks the ℓ of norms and the dash of
    intervals, and a run of hours would end in a traceback where its table is printed.
    """
    codecs.register_error("holdfast", _in_plain_letters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="holdfast")


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(letter: str) -> str:
    """A sign in ASCII; a letter of somebody's name as Python escapes it, so that none is lost."""
    if letter in _IN_WORDS:
        return _IN_WORDS[letter]
    if unicodedata.name(letter, "").startswith("GREEK "):
        return unicodedata.name(letter).split()[-1].lower()
    if unicodedata.decomposition(letter).startswith("<"):  # ², ₂, ℓ and …
        letter = unicodedata.normalize("NFKD", letter)
    return letter.encode("ascii", "backslashreplace").decode()


@contextmanager
def kept_for_the_answer() -> Iterator[None]:
    """Standard output for `answer` alone; what anyone else prints goes to standard error.

    The code of a user's network prints, and so do libraries, and whoever asked for JSON reads it.
    """
    if sys.stdout is None or _KEPT.get() is not None:  # closed before we began; kept already
        yield
        return
    token = _KEPT.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _KEPT.reset(token)


def answer(text: str) -> None:
    """Print what a program reads."""
    print(text, file=_KEPT.get())


def nobody_reads() -> bool:
    """Whether the reader of standard output has gone, as after ``| head``; then no more is written.

    Else Python would say so when it ends, and give the process another exit code.
    """
    if sys.stdout is None or not hasattr(select, "poll"):  # closed before we began; on Windows
        return False
    poll, output = select.poll(), sys.stdout.fileno()
    poll.register(output, 0)
    if not poll.poll(0):  # a write would tell too, but not again what the first one has told
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, output)
    os.close(nowhere)
    return True
