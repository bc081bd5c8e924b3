"""How often the audit is right: of evaluations that can be believed, and of those that cannot.

    python benchmarks/audit_rates.py [--half tuning|held-out|strangers|norms|all] [--only WORDS]
        [--page PAGE]

Runs every case of `audit_cases.py`, `audit_strangers.py` and `audit_norms.py` with the audit as
`holdfast evaluate` makes it, 15 % of the attacks' passes, and prints what it says; flagged is
whatever is not *believable*. Every case is evaluated twice: without looking for what the network
hides before it is attacked, so that the audit is measured by itself, and with that search, as is
the default. The limits of the checks were chosen on every second case of `audit_cases.py`
(``tuning``), without the search, and hold on the others (``held-out``). A broken evaluation counts
where what it reports is at least 5 points above the truth: the least that is known to be left, by
the suite on the model, by transfer from the one that hides nothing, or by the evaluation with the
search.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import audit_norms
import rates
import torch
from audit_cases import Case, broken, images, sound, suite
from audit_strangers import strangers
from rates import Said
from torch import nn

from holdfast import evaluate
from holdfast.attacks import On
from holdfast.errors import GradientError
from holdfast.evaluation.auditing.check import CHECKS
from holdfast.threads import suited_threads

#: Points by which a broken evaluation reports too much, at least.
TOO_HIGH = 0.05


class Line(NamedTuple):
    """What became of a case.

    Attributes:
        name: of it.
        broken: whether it is meant to report too much.
        half: which limits were chosen on it.
        plain: without the search for what is hidden.
        searched: with it.
        known: the least that stronger attacks left; none of a sound case.
    """

    name: str
    broken: bool
    half: str
    plain: Said
    searched: Said
    known: float | None

    @property
    def truth(self) -> float:
        """The least that anything left."""
        left = (self.plain.reported, self.searched.reported, self.known)
        return min(each for each in left if each is not None)

    def overstates(self, said: Said) -> bool:
        """Whether one of its evaluations reports too much."""
        return said.reported - self.truth >= TOO_HIGH - 1e-9


def made(case: Case, is_broken: bool, half: str, share: float) -> Line:
    """Evaluate a case both ways, with its audit."""
    x, y = (part[: case.count] for part in images(case.data, "test"))
    with suited_threads((1, 8, 8), nn.Identity()):
        searched, hides = _said(case, x, y, share, search=True)
        # Where it is sure that nothing was found both evaluations are the same one.
        plain = _said(case, x, y, share, search=False)[0] if hides else searched
        known = _truth(case, x, y) if is_broken else None
    return Line(case.name, is_broken, half, plain, searched, known)


def _said(
    case: Case, x: torch.Tensor, y: torch.Tensor, share: float, search: bool
) -> tuple[Said, bool]:
    """What an evaluation comes to, and whether its search found anything."""
    began = time.monotonic()
    config = replace(case.config, audit=share, hidden=search)
    found = evaluate(case.model(), x, y, case.attacks, config=config)
    seconds = time.monotonic() - began
    reported = [cell["robust_accuracy"] for cell in found.cells]
    audit = found.audit
    assert audit is not None
    least = min(each for each in reported if each is not None)
    hides = any(check.id == "H-hidden" and check.value != 0 for check in audit.checks)
    return Said(least, audit.word, rates.flags(audit), round(seconds, 1)), hides


def _truth(case: Case, x: torch.Tensor, y: torch.Tensor) -> float | None:
    """The least that is known to be left: by the suite, also from the model that hides nothing."""
    largest = max(case.attacks.values(), key=lambda attack: attack.threat.eps)
    threat = largest.threat
    strong = suite(threat) if math.isfinite(threat.eps) else largest
    attacks = {"suite": strong}
    if case.honest is not None:
        attacks["honest"] = On(case.honest(), strong, name="honest", early_stop=True)
    config = replace(case.config, audit=0.0, samples=4, votes=20, hidden=False)
    try:
        found = evaluate(case.model(), x, y, attacks, config=config)
    except GradientError:  # a model that none can attack
        return None
    fooled = found.rows[found.rows["attack"] != "clean"].groupby("index")["fooled"].any()
    return float(1 - fooled.mean())


def shown(line: Line) -> str:
    """A case in a row of the terminal."""
    plain, searched = line.plain, line.searched
    return (
        f"{'broken' if line.broken else 'sound':7}{line.half:10}{line.name:44}"
        f"{100 * plain.reported:4.0f} {100 * searched.reported:4.0f} {100 * line.truth:4.0f}  "
        f"{plain.word:15} {searched.word:15} {plain.seconds + searched.seconds:5.1f} s  "
        f"{', '.join(plain.flags)}"
    )


def main() -> None:
    options = rates.arguments(__doc__, ("tuning", "held-out", "strangers", "norms"))
    lines = rates.run(_cases(), options, made=made, read=_read, shown=shown)
    print(_rates(lines))
    if options.page is not None:
        options.page.write_text(page(lines))


def _cases() -> Iterator[tuple[Case, bool, str]]:
    """Every case, whether it is broken, and its half."""
    yield from rates.halved(sound(), broken())
    for case in strangers():
        yield case, True, "strangers"
    for case in audit_norms.sound():
        yield case, False, "norms"
    for case in audit_norms.overstated():
        yield case, True, "norms"


def _read(fields: list[Any]) -> Line:
    *about, plain, searched, known = fields
    return Line._make([*about, Said(*plain), Said(*searched), known])


def _rates(lines: Sequence[Line]) -> str:
    """Rows of the table of rates: groups of cases, without and with the search."""
    rows = []
    for kind, halves in (
        ("sound", ("tuning", "held-out", "norms", "all")),
        ("broken", ("tuning", "held-out", "strangers", "norms", "all")),
    ):
        for half in halves:
            mine = [
                line
                for line in lines
                if line.broken == (kind == "broken") and half in (line.half, "all")
            ]
            cells = [
                rates.rate(
                    [said for line, said in each if not line.broken or line.overstates(said)]
                )
                for each in (
                    [(line, line.plain) for line in mine],
                    [(line, line.searched) for line in mine],
                )
            ]
            rows.append(f"| {kind}, {half} | {' | '.join(cells)} |")
    return "\n".join(rows)


_PAGE = """# How often the audit is right

    python benchmarks/audit_rates.py --page docs/results/audit.md

An evaluation is audited with at most 15 % of the passes of its attacks, as `holdfast evaluate` does
it. Here the audit meets evaluations that can be believed, which it should not flag, and evaluations
that report at least {least} points more than a stronger attack leaves, which it should; flagged is
whatever is not *believable*. Small networks of scikit-learn's digits, and two of MNIST; 50 images
each, 40 where votes decide. [certificate-audit.md](certificate-audit.md) is the same of
certifications.

Every case is evaluated twice. *Without the search* nothing looks for what a network hides before it
is attacked, so that the audit is measured by itself. *With the search*, the default, what hides is
looked for first and gone round, and what is reported is what remains. The limits of the checks were
chosen on every second case of `benchmarks/audit_cases.py` (tuning), without the search; the others
are held out. Those of `benchmarks/audit_strangers.py` (strangers) and those in ℓ1 and ℓ0 of
`benchmarks/audit_norms.py` (norms) were written after search and checks. Before, a case of either
half was changed where it was not what it is called: some that overstated nothing, and the
transformer of adversarial training, which had collapsed and was flagged for never answering a
class; no limit was changed after the held-out half had been run. In ℓ1 and ℓ0 fewer checks are
defined, and what C12 asks in ℓ1 and A-square in ℓ0 was chosen after a first run of these cases. In
ℓ1 an ascent of one loss alone reports up to 24 points too much here, which the audit of 50 images
often cannot tell: take the suite.

| cases | flagged without the search, with 95 % confidence | with it |
|---|---|---|
{rates}

{bounds}

{search}

## Every case

*Reported* is the robust accuracy that the evaluation ends with, without the search and with it;
*truth* the least that is known to be left, by the suite on the model, by transfer from the one that
hides nothing, or by the evaluation with the search. The checks that fail or warn are cited as in
[the table of checks](#the-checks), those without the search first.

| kind | half | evaluation | reported | with it | truth | verdict | with it | checks |
|---|---|---|---|---|---|---|---|---|
{cases}

## The checks

C and a number are Carlini et al., "On evaluating adversarial robustness", 2019; I the indicators
of Pintor et al., 2022; A AutoAttack's flags; T the themes of Tramèr et al., 2020; Z the
binarization test of Zimmermann et al., 2022; H are Holdfast's own. Values are the larger, the
worse; shares of few images are lower ends of 95 % intervals, so that one odd image raises no alarm.

| check | what holds where it passes | passes up to | fails beyond |
|---|---|---|---|
{checks}
"""


def page(lines: Sequence[Line]) -> str:
    """The whole as Markdown."""
    return _PAGE.format(
        least=f"{100 * TOO_HIGH:.0f}",
        rates=_rates(lines),
        bounds=_bounds(lines),
        search=_searched(lines),
        cases="\n".join(_row(line) for line in lines),
        checks=rates.limits(CHECKS),
    )


def _bounds(lines: Sequence[Line]) -> str:
    """What the numbers of cases allow to say, of the audit by itself."""
    sound_ones = [line.plain for line in lines if not line.broken]
    broken_ones = [line.plain for line in lines if line.broken and line.overstates(line.plain)]
    return rates.one_sided(sound_ones, broken_ones, "evaluations")


def _searched(lines: Sequence[Line]) -> str:
    """What the search does to the broken ones."""
    high = [line for line in lines if line.broken and line.overstates(line.plain)]
    still = [line for line in high if line.overstates(line.searched)]
    silent = [line.name for line in still if not line.searched.flagged]
    never = [line.name for line in lines if line.broken and line not in high]
    told = (
        f"Of the {len(high)} that report too much without the search, {len(high) - len(still)} "
        f"come within {100 * TOO_HIGH:.0f} points of the truth with it; {len(still)} do not"
    )
    told += (
        f", of which {len(silent)} are not flagged: {'; '.join(silent)}."
        if silent
        else ", and every one of these is flagged."
    )
    if never:
        named = "; ".join(never)
        told += f" Not counted without the search, by which they do not report too much: {named}."
    return told


def _row(line: Line) -> str:
    plain, searched = line.plain, line.searched
    more = [flag for flag in searched.flags if flag not in plain.flags]
    return (
        f"| {'broken' if line.broken else 'sound'} | {line.half} | {line.name} "
        f"| {100 * plain.reported:.0f} % | {100 * searched.reported:.0f} % "
        f"| {f'{100 * line.truth:.0f} %' if line.broken else ''} "
        f"| {plain.word} | {searched.word} | {', '.join([*plain.flags, *more])} |"
    )


if __name__ == "__main__":
    main()
