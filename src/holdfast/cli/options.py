"""Types of command-line options: numbers such as 8/255, lists such as ``0.1,0.2``, paths."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from jsonargparse.typing import register_type

from holdfast import specs


class Numbers(tuple[float, ...]):
    """Numbers between commas; in YAML also a list."""

    def __str__(self) -> str:
        return ",".join(f"{number:g}" for number in self)

    @classmethod
    def of(cls, value: object) -> "Numbers":
        """From what the command line or YAML gives."""
        return cls(specs.number(part) for part in _parts(value))


class Number(float):
    """A number; also a fraction such as 8/255, or inf."""

    @classmethod
    def of(cls, value: object) -> "Number":
        """From what the command line or YAML gives."""
        if isinstance(value, bool):
            raise ValueError(f"{value} is no number")
        return cls(specs.number(str(value)))


class Share(float):
    """A part of another number, such as 0.15; ``off`` for none, ``full`` for no limit."""

    @classmethod
    def of(cls, value: object) -> "Share":
        """From what the command line or YAML gives."""
        words = {"off": 0.0, "False": 0.0, "full": math.inf}  # YAML reads off as False
        return cls(words[str(value)] if str(value) in words else Number.of(value))


class Counts(tuple[int, ...]):
    """Whole numbers between commas; in YAML also a list."""

    def __str__(self) -> str:
        return ",".join(map(str, self))

    @classmethod
    def of(cls, value: object) -> "Counts":
        """From what the command line or YAML gives."""
        parts = _parts(value)
        for part in parts:
            if not part.strip().removeprefix("-").isdecimal():
                raise ValueError(f"{part!r} is no whole number")
        return cls(map(int, parts))


class Words(tuple[str, ...]):
    """Words between commas; commas within brackets and quotes do not count; in YAML also a list."""

    def __str__(self) -> str:
        return ",".join(self)

    @classmethod
    def of(cls, value: object) -> "Words":
        """From what the command line or YAML gives."""
        return cls(part.strip() for part in _parts(value) if part.strip())


def path_of(value: object) -> Path:
    """A path; Python would take an empty one for the working directory."""
    if not isinstance(value, str | Path):
        raise ValueError(f"{value!r} is no path")
    if not str(value) or "\0" in str(value):
        raise ValueError(f"{str(value)!r} names no file or folder; the working directory is '.'")
    return Path(value)


def _parts(value: object) -> list[str]:
    if isinstance(value, Mapping):  # whose values would be lost
        raise ValueError(
            f"{dict(value)} is a mapping, but must be a list; parameters stand in brackets, as in "
            "pgd(steps=100)"
        )
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [str(part) for part in value]
    return specs.split(str(value))


#: Types of several values between commas.
LISTS = (Numbers, Counts, Words)

for kind in LISTS:
    register_type(kind, serializer=list, deserializer=kind.of)
register_type(Number, serializer=float, deserializer=Number.of)
register_type(Share, serializer=float, deserializer=Share.of)
register_type(Path, str, path_of, type_check=isinstance, fail_already_registered=False)
