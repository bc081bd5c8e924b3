"""A check of a run: a small function, and the data that say what it is for.

    CHECKS: Registry[Definition] = Registry("check")
    of_model: Entering[Subject] = Entering(CHECKS)

    @of_model("C8", "Random noise", limit=0.0, fails=0.05, why="...", then="...", weight=1)
    def random_noise(subject: Subject) -> Finding: ...

enters a check into the table of all that an audit of such a run goes through. A function returns a
value that is worse the larger it is, and a sentence; whether that passes is read off the limits, so
that they stand in one place for all.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

from holdfast.registry import Registry

__all__ = ["Check"]

#: What a check looks at: what a run wrote, or its model.
Of = TypeVar("Of")


class Verdict(StrEnum):
    """What a check says."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    NOT_RUN = "not run"


class Finding(NamedTuple):
    """What a check measured.

    Attributes:
        value: the larger, the worse; held against the limits of the check.
        said: one sentence.
    """

    value: float
    said: str


class NotRun(Exception):  # noqa: N818, no error
    """A check has nothing to look at, or not passes enough; the text says which."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What a check is.

    Attributes:
        id: as it is cited: C1 to C15 (Carlini), I1 to I6 (Pintor), A (AutoAttack), T (Tramèr), Z
            (Zimmermann), H (Holdfast's own), S (of smoothed classifiers).
        title: what holds where the check passes.
        limit: the largest value that passes.
        fails: the largest value that only warns; none fails where there is none.
        why: it matters.
        then: what to do about it.
        weight: how much of the passes it may take, against the others; 0 takes none.
        overstates: whether a number is too high where it fails; then it is moot where nothing is
            left robust.
        run: measures it, of rows alone or with the model.
    """

    id: str
    title: str
    limit: float
    fails: float | None
    why: str
    then: str
    weight: float
    overstates: bool
    run: Callable[[Any], Finding]

    @property
    def asks_the_model(self) -> bool:
        """Whether it takes passes."""
        return self.weight > 0

    def judge(self, value: float) -> Verdict:
        """What a value amounts to; one that is no number passes nothing."""
        if value <= self.limit:
            return Verdict.PASS
        return Verdict.FAIL if self.fails is not None and not value <= self.fails else Verdict.WARN


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check that was made.

    Attributes:
        id: as it is cited.
        title: what holds where it passes.
        value: what was measured; the larger, the worse. None if it was not run.
        threshold: the largest value that passes.
        verdict: pass, warn, fail or not run.
        said: what was found, or why it was not run, in one sentence.
        why: it matters.
        then: what to do about it.
        passes: forward and backward passes of single images that it took.

    Example:
        >>> from holdfast.evaluation import Check
        >>> from holdfast.auditing.check import Verdict
        >>> check = Check(
        ...     id="C8", title="Noise fools nobody", value=0.0, threshold=0.0, verdict=Verdict.PASS,
        ...     said="0 of 16 fell.", why="Noise is the weakest attack.", then="Mend the attack.",
        ... )
        >>> check.record()["verdict"]
        'pass'
    """

    id: str
    title: str
    value: float | None
    threshold: float
    verdict: Verdict
    said: str
    why: str
    then: str
    passes: int = 0

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "verdict": str(self.verdict)}


@dataclass(frozen=True)
class Entering(Generic[Of]):
    """Enters checks into a table, by their ids.

    Attributes:
        table: of all checks of one kind of run.
    """

    table: Registry[Definition]

    def __call__(
        self,
        name: str,
        title: str,
        *,
        limit: float,
        fails: float | None = None,
        why: str,
        then: str,
        weight: float = 0.0,
        overstates: bool = True,
    ) -> Callable[[Callable[[Of], Finding]], Callable[[Of], Finding]]:
        """Enter the check that is defined below; see `Definition`."""

        def enter(run: Callable[[Of], Finding]) -> Callable[[Of], Finding]:
            self.table.named(name)(
                Definition(
                    id=name,
                    title=title,
                    limit=limit,
                    fails=fails,
                    why=why,
                    then=then,
                    weight=weight,
                    overstates=overstates,
                    run=run,
                )
            )
            return run

        return enter
