"""Evaluate: attack every example, then ask the model again, and audit what was found."""

from holdfast.auditing.check import Check
from holdfast.auditing.verdict import Audit
from holdfast.evaluation.adapting import Adapted, adapt
from holdfast.evaluation.audits import audit, audit_run
from holdfast.evaluation.comparison import Comparison, Line, compare
from holdfast.evaluation.config import EvaluationConfig
from holdfast.evaluation.result import Evaluation
from holdfast.evaluation.run import evaluate, evaluate_data
from holdfast.evaluation.studies import Member, Study, study

__all__ = [
    "Adapted",
    "Audit",
    "Check",
    "Comparison",
    "Evaluation",
    "EvaluationConfig",
    "Line",
    "Member",
    "Study",
    "adapt",
    "audit",
    "audit_run",
    "compare",
    "evaluate",
    "evaluate_data",
    "study",
]
