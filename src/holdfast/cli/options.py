"""Types of command-line options that are written as a list: ``--eps 0.1,0.2``."""

from collections.abc import Iterable

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
