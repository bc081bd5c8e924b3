"""Training objectives: callables (model, x, y, rng) -> (loss, logs)."""

from holdfast.training.objectives.adversarial import Adversarial as Adversarial
from holdfast.training.objectives.stability import Stability as Stability
from holdfast.training.objectives.standard import Standard as Standard
