"""An audit: every check of a table in turn, as far as the passes last."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from holdfast.auditing.asked import Asked
from holdfast.auditing.check import Check, Definition, Finding, NotRun, Of, Verdict
from holdfast.auditing.purse import Spent
from holdfast.auditing.verdict import Audit
from holdfast.errors import HoldfastError


def audited_by(
    table: Iterable[Definition], ledger: Of, subject: Asked | None, *, about: str, moot: str
) -> Audit:
    """Make every check, the cheap ones first: what they leave goes to the others.

    Args:
        table: of checks.
        ledger: what the run wrote.
        subject: its model; without one, only what is written is checked.
        about: what is audited.
        moot: why no number can be too high, if none can.
    """
    waiting = sorted(table, key=lambda one: one.weight)
    checks = []
    for place, one in enumerate(waiting):
        why_not = moot if one.overstates else ""
        if subject is None:
            without = "the model is not at hand." if one.asks_the_model else ""
            checks.append(_made(one, why_not or without, lambda one=one: one.run(ledger)))  # type: ignore[misc]
            continue
        before = subject.passes
        subject.purse.waiting = [other.weight for other in waiting[place:]]
        subject.purse.allot()
        given = subject if one.asks_the_model else ledger
        with subject.alone(one.id):
            check = _made(one, why_not, lambda one=one, given=given: one.run(given))  # type: ignore[misc]
        checks.append(replace(check, passes=subject.passes - before))
    return Audit(
        checks=tuple(checks),
        about=about,
        passes=0 if subject is None else subject.passes,
        limit=math.inf if subject is None else subject.purse.limit,
    )


def _made(one: Definition, why_not: str, run: Callable[[], Finding]) -> Check:
    """A check with its verdict; what cannot be measured is not run, and says why."""
    value: float | None = None
    try:
        if why_not:
            raise NotRun(why_not)
        value, said = run()
        verdict = one.judge(value)
    except (NotRun, Spent) as reason:
        verdict, said = Verdict.NOT_RUN, str(reason)
    except HoldfastError as error:  # a stranger's model may fail on what an attack does not ask
        verdict, said = Verdict.NOT_RUN, f"it could not be made: {error}"
    except Exception as error:  # or bear no hook, no copy, no second question: no reason to end
        verdict, said = Verdict.NOT_RUN, f"it could not be made: {type(error).__name__}, {error}"
    finite = value is not None and math.isfinite(value)
    return Check(
        id=one.id,
        title=one.title,
        value=value if finite else None,
        threshold=one.limit,
        verdict=verdict,
        said=said if said.endswith(".") else f"{said}.",
        why=one.why,
        then=one.then,
    )
