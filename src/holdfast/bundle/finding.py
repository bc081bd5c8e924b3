"""What verifying found of one thing that is said somewhere."""

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Finding", "Verdict"]


class Verdict(StrEnum):
    """What became of something that is said.

    Example:
        >>> from holdfast.bundle import Verdict
        >>> print(Verdict.UNCHECKED)
        not checked
    """

    HOLDS = "holds"
    CONTRADICTED = "contradicted"
    UNCHECKED = "not checked"


class Finding(NamedTuple):
    """What was found of one thing.

    Attributes:
        where: the file, or the run, that says it.
        what: was looked at, such as "cells".
        verdict: whether it holds.
        said: what was compared, what differs, or why it could not be checked, in a sentence.

    Example:
        >>> from holdfast.bundle import Finding, Verdict
        >>> Finding("runs/eval/run.json", "cells", Verdict.HOLDS, "2 cells.").record()["verdict"]
        'holds'
    """

    where: str
    what: str
    verdict: Verdict
    said: str

    def record(self) -> dict[str, str]:
        """As ``--json`` has it."""
        return {**self._asdict(), "verdict": str(self.verdict)}


def holds(where: str, what: str, said: str) -> Finding:
    """It was worked out again, and is the same."""
    return Finding(where, what, Verdict.HOLDS, said)


def contradicted(where: str, what: str, said: str) -> Finding:
    """It was worked out again, and is another."""
    return Finding(where, what, Verdict.CONTRADICTED, said)


def unchecked(where: str, what: str, said: str) -> Finding:
    """It could not be worked out again."""
    return Finding(where, what, Verdict.UNCHECKED, said)
