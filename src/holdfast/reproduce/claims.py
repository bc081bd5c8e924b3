"""What a paper says, and what the numbers here say of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from holdfast.reproduce.combined import ByImage, difference
from holdfast.reproduce.measures import Measure, Measured
from holdfast.reproduce.steps import Step


class Verdict(StrEnum):
    """What became of a claim.

    Example:
        >>> from holdfast.reproduce import Verdict
        >>> print(Verdict.IN_PART)
        holds in part
    """

    HOLDS = "holds"
    IN_PART = "holds in part"
    NOT_HERE = "does not hold here"
    UNDECIDED = "not decided by these numbers"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Check:
    """That one number is at least ``margin`` larger than another; made by `more` and its like.

    Attributes:
        larger: a measure or a number.
        smaller: a measure or a number.
        margin: see above; negative for "at most so much smaller".
        words: the check as a sentence's part, for the page.
        strict: whether it has to be larger by more than ``margin``: two numbers that are the same,
            such as 0 % and 0 %, do not say that one is larger.
    """

    larger: Measure | float
    smaller: Measure | float
    margin: float
    words: str
    strict: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """What it is read from."""
        sides = (self.larger, self.smaller)
        return tuple(s for side in sides if not isinstance(side, float | int) for s in side.steps)

    def difference(self, root: Path) -> Measured:
        """The larger less the smaller, on the same images where both are over images.

        Of different images its ends are as far as both sides' together (Zou and Donner,
        "Construction of confidence limits about effect measures", 2008). Where a side has no
        interval, the difference has none.
        """
        if isinstance(self.larger, ByImage) and isinstance(self.smaller, ByImage):
            left, right = self.larger.by_image(root), self.smaller.by_image(root)
            if [list(part.index) for part in left] == [list(part.index) for part in right]:
                return difference(self.larger, self.smaller, root)
        larger, smaller = _read(self.larger, root), _read(self.smaller, root)
        value = larger.value - smaller.value
        below = math.hypot(larger.value - larger.low, smaller.high - smaller.value)
        above = math.hypot(larger.high - larger.value, smaller.value - smaller.low)
        images, seeds = min(larger.images, smaller.images), min(larger.seeds, smaller.seeds)
        return Measured(value, value - below, value + above, images, seeds)

    def answer(self, root: Path) -> "Answer":
        """What it finds."""
        larger, smaller = (_read(side, root).value for side in (self.larger, self.smaller))
        found = self.difference(root)
        return Answer(self, larger, smaller, found, self.holds(found))

    def holds(self, found: Measured) -> bool | None:
        """Whether it does; None if the interval leaves both possible."""
        low, high = (found.value, found.value) if math.isnan(found.low) else (found.low, found.high)
        reached = found.value > self.margin if self.strict else found.value >= self.margin
        if low >= self.margin and reached:
            return True
        return False if high < self.margin else None


def _read(side: Measure | float, root: Path) -> Measured:
    if isinstance(side, float | int):
        return Measured(float(side), float(side), float(side), 0, 0)
    return side.read(root)


def more(a: Measure, b: Measure, words: str, *, by: float = 0.0) -> Check:
    """That ``a`` is larger than ``b``, by at least ``by`` if it is given.

    Example:
        >>> from holdfast.reproduce import accuracy, evaluate, more, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> more(accuracy(attacked, "fgsm"), accuracy(attacked, "pgd"), "FGSM leaves more").words
        'FGSM leaves more'
    """
    return Check(a, b, by, words, strict=by == 0)


def less(a: Measure, b: Measure, words: str, *, by: float = 0.0) -> Check:
    """That ``a`` is smaller than ``b``, by at least ``by`` if it is given.

    Example:
        >>> from holdfast.reproduce import accuracy, evaluate, less, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> less(accuracy(attacked, "pgd"), accuracy(attacked, "fgsm"), "PGD leaves less").words
        'PGD leaves less'
    """
    return Check(b, a, by, words, strict=by == 0)


def at_least(a: Measure, b: Measure | float, words: str) -> Check:
    """That ``a`` is no smaller than a number, or than another measure.

    Example:
        >>> from holdfast.reproduce import accuracy, at_least, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> at_least(accuracy(attacked, "pgd"), 0.5, "half is left").words
        'half is left'
    """
    return Check(a, b, 0.0, words)


def at_most(a: Measure, b: Measure | float, words: str) -> Check:
    """That ``a`` is no larger than a number, or than another measure.

    Example:
        >>> from holdfast.reproduce import accuracy, at_most, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> at_most(accuracy(attacked, "pgd"), 0.5, "half is broken").words
        'half is broken'
    """
    return Check(b, a, 0.0, words)


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper and what would have to be so.

    Attributes:
        sentence: the claim, in the paper's sense.
        section: where the paper makes it.
        checks: all must hold for the claim to hold.
        why: what explains the verdict where it is not the paper's: what the paper ran and what was
            run here; or what to bear in mind where it is.
        safe: whether the direction is sure at the quick scale already, so that tests assert it.

    Example:
        >>> from holdfast.reproduce import Claim, accuracy, evaluate, more, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> check = more(accuracy(attacked, "fgsm"), accuracy(attacked, "pgd"), "FGSM leaves more")
        >>> Claim("Many steps reach more than one.", "section 3", [check]).safe
        False
    """

    sentence: str
    section: str
    checks: Sequence[Check]
    why: str = ""
    safe: bool = False


@dataclass(frozen=True)
class Answer:
    """What a check found.

    Attributes:
        check: the check.
        larger: the number that is to be the larger one.
        smaller: the other.
        difference: of the two, with its interval.
        holds: whether the check does; None if the interval leaves both possible.
    """

    check: Check
    larger: float
    smaller: float
    difference: Measured
    holds: bool | None


@dataclass(frozen=True)
class Evidence:
    """What the checks of a claim found.

    Attributes:
        claim: the claim.
        verdict: what became of it.
        answers: of each check that could be made.
        missing: the steps that are not there.
    """

    claim: Claim
    verdict: Verdict
    answers: Sequence[Answer]
    missing: Sequence[Step]


def judge(claim: Claim, root: Path, done: frozenset[str]) -> Evidence:
    """Make the checks of a claim.

    Args:
        claim: with its checks.
        root: where the run folders are.
        done: folders of the steps that are finished.
    """
    missing = {s.folder: s for check in claim.checks for s in check.steps if s.folder not in done}
    answers = [
        check.answer(root)
        for check in claim.checks
        if all(step.folder in done for step in check.steps)
    ]
    verdict = _verdict([answer.holds for answer in answers], complete=not missing)
    return Evidence(claim, verdict, answers, list(missing.values()))


def _verdict(answers: Sequence[bool | None], *, complete: bool) -> Verdict:
    if not answers:
        return Verdict.NOT_RUN
    if all(answers):
        return Verdict.HOLDS if complete else Verdict.IN_PART
    if any(answers):
        return Verdict.IN_PART
    return Verdict.NOT_HERE if False in answers else Verdict.UNDECIDED
