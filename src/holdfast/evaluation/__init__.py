"""Evaluate: attack every example, then ask the model again."""

from holdfast.evaluation.run import Evaluation, EvaluationConfig, evaluate, evaluate_data

__all__ = ["Evaluation", "EvaluationConfig", "evaluate", "evaluate_data"]
