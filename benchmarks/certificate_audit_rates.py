"""How often the audit of certificates is right: of sound certifications, and of broken ones.

    python benchmarks/certificate_audit_rates.py [--half HALF] [--only WORDS] [--page PAGE]

Runs every case of `certificate_audit_cases.py` with the audit as `holdfast certify` makes it, 15 %
of the votes' passes, and prints what it says; flagged is whatever is not *believable*. Checks were
mended on every second case (``tuning``), and are measured on the others too (``held-out``).
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import rates
from audit_cases import images
from certificate_audit_cases import Case, broken, sound
from rates import Said
from torch import nn

from holdfast.certify import Certification, certify
from holdfast.certify.auditing.check import CHECKS
from holdfast.threads import suited_threads


class Line(NamedTuple):
    """What became of a case.

    Attributes:
        name: of it.
        broken: whether it claims what is not proven.
        half: whether checks were mended on it.
        said: its audit; what it reports is the average certified radius.
        honest: the same radius where all is done as it is said; none of what hangs on the network.
    """

    name: str
    broken: bool
    half: str
    said: Said
    honest: float | None


def made(case: Case, is_broken: bool, half: str, share: float) -> Line:
    """Certify a case, with its audit, and once more without what is done otherwise."""
    began = time.monotonic()
    with ExitStack() as otherwise:
        for name, other in case.tampering.items():
            otherwise.enter_context(mock.patch(f"holdfast.certify.{name}", other))
        found = _certified(case, share)
    seconds = time.monotonic() - began
    assert found.audit is not None
    said = Said(_radius(found), found.audit.word, rates.flags(found.audit), round(seconds, 1))
    honest = _radius(_certified(case, 0.0)) if case.tampering else None
    return Line(case.name, is_broken, half, said, honest)


def _certified(case: Case, share: float) -> Certification:
    x, y = (part[: case.count] for part in images(case.data, "test"))
    with suited_threads(tuple(x.shape[1:]), nn.Identity()):
        return certify(case.model(), x, y, config=replace(case.config, audit=share))


def _radius(found: Certification) -> float:
    """The average certified radius of the first certificate: 0 where the answer is wrong."""
    (_, rows), *_ = found.rows.groupby(["bound", "interval"], sort=False)
    return round(_average(rows), 4)


def _average(rows: pd.DataFrame) -> float:
    return float(np.where(rows["prediction"] == rows["label"], rows["radius"], 0).mean())


def shown(line: Line) -> str:
    """A case in a row of the terminal."""
    honest = "" if line.honest is None else f"{line.honest:.3f}"
    return (
        f"{'broken' if line.broken else 'sound':7}{line.half:10}{line.name:44}"
        f"{line.said.reported:.3f} {honest:6} {line.said.word:15} {line.said.seconds:5.1f} s  "
        f"{', '.join(line.said.flags)}"
    )


def main() -> None:
    options = rates.arguments(__doc__, ("tuning", "held-out"))
    cases = rates.halved(sound(), broken())
    lines = rates.run(cases, options, made=made, read=_read, shown=shown)
    print(_rates(lines))
    if options.page is not None:
        options.page.write_text(page(lines))


def _read(fields: list[Any]) -> Line:
    *about, said, honest = fields
    return Line._make([*about, Said(*said), honest])


def _rates(lines: Sequence[Line]) -> str:
    """Rows of the table of rates."""
    rows = []
    for kind in ("sound", "broken"):
        for half in ("tuning", "held-out", "all"):
            mine = [
                line.said
                for line in lines
                if line.broken == (kind == "broken") and half in (line.half, "all")
            ]
            rows.append(f"| {kind}, {half} | {rates.rate(mine)} |")
    return "\n".join(rows)


_PAGE = """# How often the audit of certificates is right

    python benchmarks/certificate_audit_rates.py --page docs/results/certificate-audit.md

A certification is audited with at most 15 % of the passes of its votes, as `holdfast certify` does
it. Here the audit meets certifications that can be believed, which it should not flag, and others
that take their votes, limits or radii otherwise than they say, or ask a network whose votes hang on
each other, which it should; flagged is whatever is not *believable*. Small networks of
scikit-learn's digits, and one of MNIST; 60 images each. [audit.md](audit.md) is the same of
evaluations.

Checks were mended on every second case of `benchmarks/certificate_audit_cases.py` (tuning); the
others are held out. {mended}

| cases | flagged, with 95 % confidence |
|---|---|
{rates}

{bounds}

## Every case

*Radius* is the average certified radius, that of an image that is wrong or abstained from being 0:
as it was said, and beside it as it is where all is done as it is said. The checks that fail or warn
are cited as in [the table of checks](#the-checks).

| kind | half | certification | radius | where done as said | verdict | checks |
|---|---|---|---|---|---|---|
{cases}

## The checks

| check | what holds where it passes | passes up to | fails beyond |
|---|---|---|---|
{checks}
"""

#: What became of the checks on the way.
_MENDED = """Before, 5 of the 25 broken ones of the tuning half were not flagged: noise
by the image's content, labels of the predictions, cells that say less noise, fine cached answers,
and a denoiser that leaks, which as it was then leaked nothing and was changed. S-fresh, S-alone and
S-labels were added, S-cells looks at settings too, S-seed and S-chosen at the images whose votes
agree least. No check was changed after the held-out half had been run."""


def page(lines: Sequence[Line]) -> str:
    """The whole as Markdown."""
    return _PAGE.format(
        mended=_MENDED,
        rates=_rates(lines),
        bounds=_bounds(lines),
        cases="\n".join(_row(line) for line in lines),
        checks=rates.limits(CHECKS),
    )


def _bounds(lines: Sequence[Line]) -> str:
    """What the numbers of cases allow to say."""
    sound_ones = [line.said for line in lines if not line.broken]
    broken_ones = [line.said for line in lines if line.broken]
    silent = [line.name for line in lines if line.broken and not line.said.flagged]
    told = f" Not flagged: {', '.join(silent)}." if silent else ""
    return rates.one_sided(sound_ones, broken_ones, "certifications") + told


def _row(line: Line) -> str:
    honest = "" if line.honest is None else f"{line.honest:.3f}"
    return (
        f"| {'broken' if line.broken else 'sound'} | {line.half} | {line.name} "
        f"| {line.said.reported:.3f} | {honest} | {line.said.word} | {', '.join(line.said.flags)} |"
    )


if __name__ == "__main__":
    main()
