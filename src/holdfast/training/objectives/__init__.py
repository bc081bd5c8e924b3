"""Training objectives: callables (model, x, y, rng) -> (loss, logs)."""

from holdfast.training.objectives.adversarial import Adversarial as Adversarial
from holdfast.training.objectives.deep_defense import DeepDefense as DeepDefense
from holdfast.training.objectives.stability import Stability as Stability
from holdfast.training.objectives.standard import Standard as Standard
from holdfast.training.objectives.total import Total as Total
