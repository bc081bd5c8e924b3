"""Types of command-line options: lists such as ``--eps 0.1,0.2``, and paths."""

from collections.abc import Iterable
from pathlib import Path

from jsonargparse.typing import register_type


class Numbers(tuple[float, ...]):
    """Numbers between commas; in YAML also a list."""

    def __str__(self) -> str:
        return ",".join(f"{number:g}" for number in self)

    @classmethod
    def of(cls, value: object) -> "Numbers":
        """From what the command line or YAML gives."""
        return cls(float(part) for part in _parts(value))


class Counts(tuple[int, ...]):
    """Whole numbers between commas; in YAML also a list."""

    def __str__(self) -> str:
        return ",".join(map(str, self))

    @classmethod
    def of(cls, value: object) -> "Counts":
        """From what the command line or YAML gives."""
        parts = _parts(value)
        for part in parts:
            if not part.strip().isdecimal():
                raise ValueError(f"{part!r} is no whole number")
        return cls(map(int, parts))


class Words(tuple[str, ...]):
    """Words between commas; commas within parentheses do not count; in YAML also a list."""

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
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [str(part) for part in value]
    parts, depth = [""], 0
    for letter in str(value):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


for kind in (Numbers, Counts, Words):
    register_type(kind, serializer=list, deserializer=kind.of)
register_type(Path, str, path_of, type_check=isinstance, fail_already_registered=False)
