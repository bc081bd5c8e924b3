from holdfast.processes import Processes as Processes
from .augmented import Augmented as Augmented
from .epochs import kept_epochs as kept_epochs
from .epochs import save_epoch as save_epoch
from .frozen import Frozen as Frozen
from .gradient_cache import CachedFGSM as CachedFGSM
from .gradient_cache import GradientCache as GradientCache
from .hooks import Hook as Hook
from .objectives.adversarial import AdvTrainII as AdvTrainII
from .objectives.adversarial import Adversarial as Adversarial
from .objectives.adversarial import against_prediction as against_prediction
from .objectives.augmentation import NoiseAugmentation as NoiseAugmentation
from .objectives.deep_defense import DeepDefense as DeepDefense
from .objectives.denoising import Denoising as Denoising
from .objectives.denoising import SupervisedDenoising as SupervisedDenoising
from .objectives.denoising import equal_classes as equal_classes
from .objectives.distillation import Distillation as Distillation
from .objectives.ensemble import EnsembleAdversarial as EnsembleAdversarial
from .objectives.ibp import IBP as IBP
from .objectives.logit_pairing import LogitPairing as LogitPairing
from .objectives.names import OBJECTIVES as OBJECTIVES
from .objectives.stability import Stability as Stability
from .objectives.standard import Standard as Standard
from .objectives.sum import Total as Total
from .objectives.trades import TRADES as TRADES
from .optimizers import Adam as Adam
from .optimizers import AdamW as AdamW
from .optimizers import RMSProp as RMSProp
from .optimizers import SGD as SGD
from .paced import Paced as Paced
from .paced import paced as paced
from .parseval import Parseval as Parseval
from .parseval import tightness as tightness
from .precomputed import Precomputed as Precomputed
from .precomputed import adversarial_training_1 as adversarial_training_1
from .precomputed import precompute as precompute
from .randomized import AtRandomSize as AtRandomSize
from .randomized import OneAtRandom as OneAtRandom
from .randomized import OneByOne as OneByOne
from .randomized import half_normal as half_normal
from .randomized import uniform as uniform
from .rates import Constant as Constant
from .rates import Cosine as Cosine
from .rates import MultiStep as MultiStep
from .rates import OneCycle as OneCycle
from .rates import StepDecay as StepDecay
from .rates import WarmUp as WarmUp
from .run import train_data as train_data
from .schedule import Schedule as Schedule
from .selection import Selection as Selection
from .start import start_from as start_from
from .surrogate import Surrogate as Surrogate
from .surrogate import distill as distill
from .surrogate import substitute as substitute
from .trainer import TrainingError as TrainingError
from .trainer import fit as fit
from .validation import Validation as Validation
from .validation import hold_out as hold_out

__all__ = [
    "Adam",
    "AdamW",
    "AdvTrainII",
    "Adversarial",
    "AtRandomSize",
    "Augmented",
    "CachedFGSM",
    "Constant",
    "Cosine",
    "DeepDefense",
    "Denoising",
    "Distillation",
    "EnsembleAdversarial",
    "Frozen",
    "GradientCache",
    "Hook",
    "IBP",
    "LogitPairing",
    "MultiStep",
    "NoiseAugmentation",
    "OBJECTIVES",
    "OneAtRandom",
    "OneByOne",
    "OneCycle",
    "Paced",
    "Parseval",
    "Precomputed",
    "Processes",
    "RMSProp",
    "SGD",
    "Schedule",
    "Selection",
    "Stability",
    "Standard",
    "StepDecay",
    "SupervisedDenoising",
    "Surrogate",
    "TRADES",
    "Total",
    "TrainingError",
    "Validation",
    "WarmUp",
    "adversarial_training_1",
    "against_prediction",
    "distill",
    "equal_classes",
    "fit",
    "half_normal",
    "hold_out",
    "kept_epochs",
    "paced",
    "precompute",
    "save_epoch",
    "start_from",
    "substitute",
    "tightness",
    "train_data",
    "uniform",
]
