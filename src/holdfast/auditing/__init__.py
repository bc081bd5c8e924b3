"""Whether what a run wrote can be believed: what all audits have in common.

A check is a small function with its data (`check`), and `run` makes those of a table one after the
other, of what was written and of the model, `asked` again as far as the passes in its `purse` last;
`verdict` is what they amount to. A copy of a model is asked as if nobody had before (`fresh`). The
checks themselves lie beside what they are of, in `holdfast.evaluation.auditing` and
`holdfast.certify.auditing`.
"""

from holdfast.auditing.check import Check
from holdfast.auditing.shares import at_least
from holdfast.auditing.verdict import Audit

__all__ = ["Audit", "Check", "at_least"]
