"""Training objectives: callables (model, x, y, rng) -> (loss, logs)."""

from holdfast.training.objectives.adversarial import Adversarial as Adversarial
from holdfast.training.objectives.adversarial import AdvTrainII as AdvTrainII
from holdfast.training.objectives.adversarial import against_prediction as against_prediction
from holdfast.training.objectives.augmentation import NoiseAugmentation as NoiseAugmentation
from holdfast.training.objectives.deep_defense import DeepDefense as DeepDefense
from holdfast.training.objectives.denoising import Denoising as Denoising
from holdfast.training.objectives.denoising import SupervisedDenoising as SupervisedDenoising
from holdfast.training.objectives.distillation import Distillation as Distillation
from holdfast.training.objectives.ensemble import EnsembleAdversarial as EnsembleAdversarial
from holdfast.training.objectives.logit_pairing import LogitPairing as LogitPairing
from holdfast.training.objectives.stability import Stability as Stability
from holdfast.training.objectives.standard import Standard as Standard
from holdfast.training.objectives.sum import Total as Total
from holdfast.training.objectives.trades import TRADES as TRADES
