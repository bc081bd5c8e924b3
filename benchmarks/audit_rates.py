"""How often the audit is right: of evaluations that can be believed, and of those that cannot.

    python benchmarks/audit_rates.py [--half tuning|held-out|both] [--only WORDS] [--page PAGE]

Runs every case of `audit_cases.py` with the audit as `holdfast evaluate` makes it, 15 % of the
attacks' passes, and prints what it says; flagged is whatever is not *believable*. The limits of the
checks were chosen on every second case of either kind (``tuning``) and hold on the others
(``held-out``). A broken case counts where what is reported is at least 5 points above the truth,
known from a stronger attack: the suite, on the model or on the one that hides nothing.
"""

import argparse
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from audit_cases import Case, broken, images, sound, suite
from torch import nn

from holdfast import evaluate
from holdfast.attacks import On
from holdfast.evaluation.auditing.check import Verdict
from holdfast.statistics import proportion_interval
from holdfast.threads import suited_threads

#: Points by which a broken evaluation reports too much, at least.
TOO_HIGH = 0.05


class Line(NamedTuple):
    """What became of a case."""

    name: str
    broken: bool
    half: str
    reported: float
    truth: float | None
    word: str
    flags: list[str]
    passes: int
    limit: float
    seconds: float

    @property
    def flagged(self) -> bool:
        return self.word != "believable"


def made(case: Case, is_broken: bool, half: str, share: float) -> Line:
    """Evaluate a case, with its audit."""
    x, y = (part[: case.count] for part in images(case.data, "test"))
    began = time.monotonic()
    config = replace(case.config, audit=share)
    found = evaluate(case.model(), x, y, case.attacks, config=config)
    seconds = time.monotonic() - began
    reported = min(
        cell["robust_accuracy"] for cell in found.cells if cell["robust_accuracy"] is not None
    )
    audit = found.audit
    assert audit is not None
    flags = [check.id for verdict in (Verdict.FAIL, Verdict.WARN) for check in audit.of(verdict)]
    truth = _truth(case, x, y) if is_broken else None
    return Line(
        case.name,
        is_broken,
        half,
        reported,
        truth,
        audit.word,
        flags,
        audit.passes,
        audit.limit,
        seconds,
    )


def _truth(case: Case, x: torch.Tensor, y: torch.Tensor) -> float:
    """The least that is known to be left: by the suite, also from the model that hides nothing."""
    threat = max((attack.threat for attack in case.attacks.values()), key=lambda ball: ball.eps)
    attacks = {"suite": suite(threat)}
    if case.honest is not None:
        attacks["honest"] = On(case.honest(), suite(threat), name="honest", early_stop=True)
    config = replace(case.config, audit=0.0, samples=4, votes=20)
    try:
        found = evaluate(case.model(), x, y, attacks, config=config)
    except Exception as error:  # a model that none can attack
        print(case.name, error)
        return float("nan")
    fooled = found.rows[found.rows["attack"] != "clean"].groupby("index")["fooled"].any()
    return float(1 - fooled.mean())


def rate(lines: list[Line]) -> str:
    """How many were flagged, with the interval."""
    count = sum(line.flagged for line in lines)
    low, high = proportion_interval(count, max(len(lines), 1))
    return (
        f"{count} of {len(lines)} ({100 * count / max(len(lines), 1):.1f} %, "
        f"{100 * float(low):.0f} to {100 * float(high):.0f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--half", choices=("tuning", "held-out", "both"), default="both")
    parser.add_argument("--only", default="", help="cases whose names hold this")
    parser.add_argument("--kind", choices=("sound", "broken", "both"), default="both")
    parser.add_argument("--share", type=float, default=0.15)
    parser.add_argument("--page", type=Path, help="Markdown page to write")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = []
    for is_broken, cases in ((False, sound()), (True, broken())):
        if options.kind == ("sound" if is_broken else "broken"):
            continue
        for number, case in enumerate(cases):
            half = ("tuning", "held-out")[number % 2]
            if options.half not in (half, "both") or options.only not in case.name:
                continue
            with suited_threads((1, 8, 8), nn.Identity()):
                line = made(case, is_broken, half, options.share)
            lines.append(line)
            print(shown(line), flush=True)
    summary = {
        f"{kind}, {half}": [
            line for line in counted(lines) if line.broken == is_broken and line.half == half
        ]
        for kind, is_broken in (("sound", False), ("broken", True))
        for half in ("tuning", "held-out")
    }
    for name, part in summary.items():
        print(f"{name}: flagged {rate(part)}")
    if options.page is not None:
        options.page.write_text(page(lines, summary))


def counted(lines: list[Line]) -> list[Line]:
    """Those that are what they are meant to be."""
    return [
        line for line in lines if line.truth is None or not line.reported < line.truth + TOO_HIGH
    ]


def shown(line: Line) -> str:
    truth = "" if line.truth is None else f", truth {100 * line.truth:.0f}"
    kind = "broken" if line.broken else "sound"
    return (
        f"{kind:6} {line.half:8} {line.name:42} {100 * line.reported:.0f} %{truth} -> {line.word} "
        f"{' '.join(line.flags)} [{line.passes}/{line.limit:.0f}, {line.seconds:.1f} s]"
    )


def page(lines: list[Line], summary: dict[str, list[Line]]) -> str:
    return ""


if __name__ == "__main__":
    main()
