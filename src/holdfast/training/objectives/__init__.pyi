from .adversarial import AdvTrainII as AdvTrainII
from .adversarial import Adversarial as Adversarial
from .adversarial import against_prediction as against_prediction
from .augmentation import NoiseAugmentation as NoiseAugmentation
from .deep_defense import DeepDefense as DeepDefense
from .denoising import Denoising as Denoising
from .denoising import SupervisedDenoising as SupervisedDenoising
from .denoising import equal_classes as equal_classes
from .distillation import Distillation as Distillation
from .ensemble import EnsembleAdversarial as EnsembleAdversarial
from .ibp import IBP as IBP
from .logit_pairing import LogitPairing as LogitPairing
from .names import OBJECTIVES as OBJECTIVES
from .stability import Stability as Stability
from .standard import Standard as Standard
from .sum import Total as Total
from .trades import TRADES as TRADES

__all__ = [
    "AdvTrainII",
    "Adversarial",
    "DeepDefense",
    "Denoising",
    "Distillation",
    "EnsembleAdversarial",
    "IBP",
    "LogitPairing",
    "NoiseAugmentation",
    "OBJECTIVES",
    "Stability",
    "Standard",
    "SupervisedDenoising",
    "TRADES",
    "Total",
    "against_prediction",
    "equal_classes",
]
