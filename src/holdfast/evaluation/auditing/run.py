"""The audit of an evaluation: its table of checks, and what it is about."""

from holdfast.auditing.run import audited_by
from holdfast.auditing.verdict import Audit
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
from holdfast.evaluation.auditing.check import CHECKS
from holdfast.evaluation.auditing.ledger import Ledger
from holdfast.evaluation.auditing.subject import Subject


def audited(ledger: Ledger, subject: Subject | None) -> Audit:
    """Make every check of an evaluation.

    Args:
        ledger: what the evaluation wrote.
        subject: its model; without one, only what is written is checked.
    """
    moot = "" if ledger.size else "no attack left anything robust, so nothing can be too high."
    return audited_by(CHECKS.values(), ledger, subject, about=_about(ledger), moot=moot)


def _about(ledger: Ledger) -> str:
    """The ball that was looked at."""
    total = len(ledger.clean)
    if ledger.size is None:
        return f"the attacks left next to none of {total} images robust"
    return f"{ledger.size}: {len(ledger.survivors)} of {total} images are left robust"
