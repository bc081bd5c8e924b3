from . import (
    attacks,
    certify,
    data,
    defenses,
    diagnose,
    errors,
    evaluation,
    goals,
    gradients,
    losses,
    metrics,
    models,
    random,
    threat,
    training,
    types,
)
from .errors import HoldfastError
from .evaluation import Evaluation, EvaluationConfig, evaluate
from .threat import L0, L1, L2, Linf

__all__ = [
    "L0",
    "L1",
    "L2",
    "Evaluation",
    "EvaluationConfig",
    "HoldfastError",
    "Linf",
    "attacks",
    "certify",
    "data",
    "defenses",
    "diagnose",
    "errors",
    "evaluate",
    "evaluation",
    "goals",
    "gradients",
    "losses",
    "metrics",
    "models",
    "random",
    "threat",
    "training",
    "types",
]

__version__: str
