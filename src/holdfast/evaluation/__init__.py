"""Evaluate: attack every example, then ask the model again."""

from holdfast.evaluation.config import EvaluationConfig
from holdfast.evaluation.result import Evaluation
from holdfast.evaluation.run import evaluate, evaluate_data

__all__ = ["Evaluation", "EvaluationConfig", "evaluate", "evaluate_data"]
