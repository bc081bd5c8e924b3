"""What the checks amount to: one word and one sentence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from holdfast.auditing.check import Check, Verdict
from holdfast.summary import Summary

__all__ = ["Audit", "Word"]

Word: TypeAlias = Literal["believable", "doubtful", "not believable"]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Whether the numbers of an evaluation or a certification can be believed.

    Attributes:
        checks: all of them, also those that were not run.
        about: what was audited, such as "linf 0.1: 45 of 100 images are left robust".
        passes: forward and backward passes of single images that the audit took.
        limit: the most that it might take; infinite without a limit.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.evaluation import audit
        >>> found = audit(model, x, y, {"pgd": PGD(Linf(0.3), steps=20)})
        >>> found.word, found.about  # four images are few, whatever they say
        ('doubtful', 'the attacks left next to none of 4 images robust')
    """

    checks: tuple[Check, ...]
    about: str
    passes: int
    limit: float

    @property
    def word(self) -> Word:
        """Not believable where a check fails, doubtful where one warns, else believable."""
        found = {check.verdict for check in self.checks}
        if Verdict.FAIL in found:
            return "not believable"
        return "doubtful" if Verdict.WARN in found else "believable"

    @property
    def sentence(self) -> str:
        """The word, and what it rests on."""
        for verdict in (Verdict.FAIL, Verdict.WARN):
            if worst := self.of(verdict):
                return f"{self.word}: {_first(worst)}"
        counts = Counter(check.verdict for check in self.checks)
        return (
            f"{self.word}: {counts[Verdict.PASS]} checks pass and none fails"
            f" ({counts[Verdict.NOT_RUN]} were not run)."
        )

    def _repr_html_(self) -> str:
        """For a notebook: the word, and the checks from the worst on."""
        order = [Verdict.FAIL, Verdict.WARN, Verdict.PASS, Verdict.NOT_RUN]
        lines = [
            {"check": f"{check.id}: {check.title}", "verdict": verdict.value, "found": check.said}
            for verdict in order
            for check in self.of(verdict)
        ]
        return Summary(self.sentence, lines or [{"check": "none"}]).html()

    def of(self, verdict: Verdict) -> list[Check]:
        """The checks of one verdict."""
        return [check for check in self.checks if check.verdict is verdict]

    def record(self) -> dict[str, Any]:
        """As run.json and ``--json`` hold it."""
        return {
            "verdict": self.word,
            "sentence": self.sentence,
            "about": self.about,
            "passes": self.passes,
            "limit": None if self.limit == float("inf") else int(self.limit),
            "checks": [check.record() for check in self.checks],
        }

    @classmethod
    def of_run(cls, about: Mapping[str, Any]) -> "Audit | None":
        """From a run.json; None if it holds no audit."""
        return cls.of_record(about["audit"]) if "audit" in about else None

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> "Audit":
        """From what run.json holds."""
        return cls(
            checks=tuple(msgspec.convert(record["checks"], list[Check])),
            about=record["about"],
            passes=record["passes"],
            limit=float("inf") if record["limit"] is None else record["limit"],
        )


def _first(worst: Sequence[Check]) -> str:
    """What the first says, and which others agree."""
    rest = ", ".join(check.id for check in worst[1:])
    return f"{worst[0].said.rstrip('.')} ({worst[0].id}{f'; also {rest}' if rest else ''})."
