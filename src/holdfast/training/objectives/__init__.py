"""Training objectives: callables (model, x, y, rng) -> (loss, logs)."""

from holdfast.training.objectives.adversarial import Adversarial, AdvTrainII, against_prediction
from holdfast.training.objectives.augmentation import NoiseAugmentation
from holdfast.training.objectives.deep_defense import DeepDefense
from holdfast.training.objectives.denoising import Denoising, SupervisedDenoising
from holdfast.training.objectives.distillation import Distillation
from holdfast.training.objectives.ensemble import EnsembleAdversarial
from holdfast.training.objectives.logit_pairing import LogitPairing
from holdfast.training.objectives.stability import Stability
from holdfast.training.objectives.standard import Standard
from holdfast.training.objectives.sum import Total
from holdfast.training.objectives.trades import TRADES

__all__ = [
    "TRADES",
    "AdvTrainII",
    "Adversarial",
    "DeepDefense",
    "Denoising",
    "Distillation",
    "EnsembleAdversarial",
    "LogitPairing",
    "NoiseAugmentation",
    "Stability",
    "Standard",
    "SupervisedDenoising",
    "Total",
    "against_prediction",
]
