"""What the benchmarks of audits share: cases run one by one, and what their numbers say."""

import argparse
import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from holdfast.auditing.check import Verdict
from holdfast.auditing.verdict import Audit
from holdfast.statistics import lower_limit, proportion_interval, upper_limit


class Said(NamedTuple):
    """What a run came to.

    Attributes:
        reported: its least robust accuracy, or its average certified radius.
        word: of its audit.
        flags: checks that fail, then those that warn.
        seconds: that it took.
    """

    reported: float
    word: str
    flags: list[str]
    seconds: float

    @property
    def flagged(self) -> bool:
        return self.word != "believable"


class Line(Protocol):
    """What became of a case: a named tuple whose first fields are these."""

    @property
    def name(self) -> str: ...

    @property
    def half(self) -> str: ...


C = TypeVar("C", bound="Named")
L = TypeVar("L", bound=Line)


class Named(Protocol):
    """A case."""

    @property
    def name(self) -> str: ...


def flags(audit: Audit) -> list[str]:
    """Checks that fail, then those that warn."""
    return [check.id for verdict in (Verdict.FAIL, Verdict.WARN) for check in audit.of(verdict)]


def arguments(description: str | None, halves: Sequence[str]) -> argparse.Namespace:
    """What such a benchmark is told."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--half", choices=(*halves, "all"), default="all")
    parser.add_argument("--only", default="", help="cases whose names hold this")
    parser.add_argument("--kind", choices=("sound", "broken", "both"), default="both")
    parser.add_argument("--share", type=float, default=0.15)
    parser.add_argument("--page", type=Path, help="Markdown page to write")
    parser.add_argument("--kept", type=Path, help="file of results, to go on from and add to")
    return parser.parse_args()


def halved(sound: Iterable[C], broken: Iterable[C]) -> Iterable[tuple[C, bool, str]]:
    """Every case, whether it is broken, and its half."""
    for is_broken, cases in ((False, sound), (True, broken)):
        for number, case in enumerate(cases):
            yield case, is_broken, ("tuning", "held-out")[number % 2]


def run(
    cases: Iterable[tuple[C, bool, str]],
    options: argparse.Namespace,
    *,
    made: Callable[[C, bool, str, float], L],
    read: Callable[[list[Any]], L],
    shown: Callable[[L], str],
) -> list[L]:
    """Run the cases that are asked for, but those whose results are kept.

    Args:
        cases: each with whether it is broken, and its half.
        options: of `arguments`.
        made: runs a case.
        read: a line from what JSON makes of it.
        shown: a line in a row of the terminal.
    """
    warnings.simplefilter("ignore")
    known: dict[tuple[str, str], L] = {}  # two halves may have a case of the same name
    if options.kept is not None and options.kept.exists():
        lines = map(read, map(json.loads, options.kept.read_text().splitlines()))
        known = {(line.half, line.name): line for line in lines}
    found = []
    for case, is_broken, half in cases:
        left_out = options.kind == ("sound" if is_broken else "broken")
        if left_out or options.half not in (half, "all") or options.only not in case.name:
            continue
        line = known.get((half, case.name))
        if line is None:
            line = made(case, is_broken, half, options.share)
            if options.kept is not None:
                options.kept.parent.mkdir(parents=True, exist_ok=True)
                with options.kept.open("a") as file:
                    file.write(json.dumps(line) + "\n")
        found.append(line)
        print(shown(line), flush=True)
    return found


def rate(said: Sequence[Said]) -> str:
    """How many were flagged, with the 95 % interval."""
    if not said:
        return "none"
    count = sum(each.flagged for each in said)
    low, high = proportion_interval(count, len(said))
    return f"{count} of {len(said)}, {100 * float(low):.0f} to {100 * float(high):.0f} %"


def one_sided(sound: Sequence[Said], broken: Sequence[Said], what: str) -> str:
    """What the numbers of cases allow to say."""
    wrong, right = (sum(said.flagged for said in each) for each in (sound, broken))
    most = 100 * float(upper_limit(np.array(wrong), np.array(len(sound)), 0.05))
    least = 100 * float(lower_limit(np.array(right), np.array(len(broken)), 0.05))
    return (
        f"One-sided, with 95 % confidence: at most {math.ceil(10 * most) / 10:.1f} % of sound "
        f"{what} like these are flagged, and at least {math.floor(10 * least) / 10:.1f} % of "
        "broken ones."
    )


def limits(checks: Mapping[str, Any]) -> str:
    """Rows of the table of checks."""
    return "\n".join(
        f"| {one.id} | {one.title} | {one.limit:g} "
        f"| {'' if one.fails is None else f'{one.fails:g}'} |"
        for one in checks.values()
    )
