"""What became of the claims of an item, and by what, kept beside its page as ``claims.json``.

The page of a paper is made of these, so that its items may be done one by one, on several machines,
and long after the run folders of the first are gone.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.files import read_as, write_json
from holdfast.reproduce.claims import Answer, Evidence, Verdict

_FILE = "claims.json"


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict.

    Attributes:
        sentence: the claim, in the paper's sense.
        section: where the paper makes it.
        verdict: what became of it.
        found: what was asked in each check, and the answer with its number.
        why: what explains it, and what to bear in mind of it.
    """

    sentence: str
    section: str
    verdict: Verdict
    found: Sequence[str] = ()
    why: str = ""


@dataclass(frozen=True)
class Verdicts:
    """What became of all claims of an item.

    Attributes:
        scale: at which it was done, by its name.
        claims: in the recipe's order.
    """

    scale: str
    claims: Sequence[Judged]

    @property
    def answered(self) -> int:
        """How many claims were judged at all."""
        return sum(one.verdict is not Verdict.NOT_RUN for one in self.claims)


def verdicts(evidence: Sequence[Evidence], scale: str) -> Verdicts:
    """Of an item, from what the checks of its claims found."""
    told = [
        Judged(
            of.claim.sentence,
            of.claim.section,
            of.verdict,
            [f"{answer.check.words}: {_told(answer)}" for answer in of.answers],
            of.claim.why,
        )
        for of in evidence
    ]
    return Verdicts(scale, told)


def _told(answer: Answer) -> str:
    """Such as "yes (0.980 - 0.950 = 0.030 [0.004, 0.056])"."""
    found = answer.difference
    if math.isnan(found.value):
        return "there is no such number here"
    said = {True: "yes", False: "no", None: "within the interval"}[answer.holds]
    ends = ", no interval" if math.isnan(found.low) else f" [{found.low:.3f}, {found.high:.3f}]"
    smaller = f"({answer.smaller:.3f})" if answer.smaller < 0 else f"{answer.smaller:.3f}"
    return f"{said} ({answer.larger:.3f} - {smaller} = {found.value:.3f}{ends})"


def write(folder: Path, of: Verdicts) -> None:
    """Keep them beside the item's page."""
    write_json(folder / _FILE, asdict(of))


def read(folder: Path) -> Verdicts | None:
    """Of the item whose page is in a folder; None if it has none.

    Raises:
        DamagedFileError: if the file holds anything else.
    """
    if not (folder / _FILE).exists():
        return None
    kept: Verdicts = read_as(folder / _FILE, Verdicts)
    return kept
