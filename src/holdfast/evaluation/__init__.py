"""Evaluate: attack every example, then ask the model again."""

from holdfast.evaluation.comparison import Comparison, Line, compare
from holdfast.evaluation.config import EvaluationConfig
from holdfast.evaluation.result import Evaluation
from holdfast.evaluation.run import evaluate, evaluate_data

__all__ = [
    "Comparison",
    "Evaluation",
    "EvaluationConfig",
    "Line",
    "compare",
    "evaluate",
    "evaluate_data",
]
