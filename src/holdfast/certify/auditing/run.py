"""The audit of a certification: its table of checks, and what it is about."""

from holdfast.auditing.run import audited_by
from holdfast.auditing.verdict import Audit
from holdfast.certify.auditing import alone, asked, written  # noqa: F401  each enters its checks
from holdfast.certify.auditing.check import CHECKS
from holdfast.certify.auditing.ledger import Ledger
from holdfast.certify.auditing.subject import Subject


def audited(ledger: Ledger, subject: Subject | None) -> Audit:
    """Make every check of a certification.

    Args:
        ledger: what the certification wrote.
        subject: its model; without one, only what is written is checked.
    """
    moot = "" if (ledger.rows["radius"] > 0).any() else "nothing is certified."
    return audited_by(CHECKS.values(), ledger, subject, about=_about(ledger), moot=moot)


def _about(ledger: Ledger) -> str:
    """The noise, and what it certified."""
    bound, interval, rows = next(ledger.parts)
    number = int(((rows["prediction"] == rows["label"]) & (rows["radius"] > 0)).sum())
    config = ledger.config
    return (
        f"{config.noise} noise of {config.sigma:g}: {number} of {len(rows)} images are right and "
        f"certified in {config.norm} by {bound} with {interval}"
    )
