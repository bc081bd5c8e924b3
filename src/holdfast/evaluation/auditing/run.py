"""The audit itself: every check in turn, as far as the passes last."""

import math
from collections.abc import Callable
from dataclasses import replace

from holdfast.errors import HoldfastError
from holdfast.evaluation.auditing import (  # noqa: F401  each enters its checks
    answers,
    attacked,
    binarization,
    effort,
    images,
    others,
    slopes,
    written,
)
from holdfast.evaluation.auditing.check import CHECKS, Check, Definition, Finding, NotRun, Verdict
from holdfast.evaluation.auditing.ledger import Ledger
from holdfast.evaluation.auditing.purse import Spent
from holdfast.evaluation.auditing.subject import Subject
from holdfast.evaluation.auditing.verdict import Audit


def audited(ledger: Ledger, subject: Subject | None) -> Audit:
    """Make every check, the cheap ones first: what they leave goes to the others.

    Args:
        ledger: what the evaluation wrote.
        subject: its model; without one, only what is written is checked.
    """
    waiting = sorted(CHECKS.values(), key=lambda one: one.weight)
    checks = []
    for place, one in enumerate(waiting):
        if subject is None:
            checks.append(_made(one, ledger, lambda one=one: _of_rows_alone(one, ledger)))  # type: ignore[misc]
            continue
        before = subject.passes
        subject.purse.waiting = [other.weight for other in waiting[place:]]
        subject.purse.allot()
        given = subject if one.asks_the_model else ledger
        with subject.alone(one.id):
            check = _made(one, ledger, lambda one=one, given=given: one.run(given))  # type: ignore[misc]
        checks.append(replace(check, passes=subject.passes - before))
    return Audit(
        checks=tuple(checks),
        about=_about(ledger),
        passes=0 if subject is None else subject.passes,
        limit=math.inf if subject is None else subject.purse.limit,
    )


def _of_rows_alone(one: Definition, ledger: Ledger) -> Finding:
    if one.asks_the_model:
        raise NotRun("the model is not at hand.")
    return one.run(ledger)


def _made(one: Definition, ledger: Ledger, run: Callable[[], Finding]) -> Check:
    """A check with its verdict; what cannot be measured is not run, and says why."""
    value: float | None = None
    try:
        if one.overstates and ledger.size is None:
            raise NotRun("no attack left anything robust, so nothing can be too high.")
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


def _about(ledger: Ledger) -> str:
    """The ball that was looked at."""
    total = len(ledger.clean)
    if ledger.size is None:
        return f"the attacks left next to none of {total} images robust"
    return f"{ledger.size}: {len(ledger.survivors)} of {total} images are left robust"
