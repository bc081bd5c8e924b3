"""Training: one trainer, and objectives that it knows nothing about."""

from holdfast.processes import Processes
from holdfast.training.augmented import Augmented
from holdfast.training.frozen import Frozen
from holdfast.training.gradient_cache import FromCache, GradientCache
from holdfast.training.hooks import Hook
from holdfast.training.objectives import (
    TRADES,
    Adversarial,
    AdvTrainII,
    DeepDefense,
    Denoising,
    Distillation,
    EnsembleAdversarial,
    LogitPairing,
    NoiseAugmentation,
    Stability,
    Standard,
    SupervisedDenoising,
    Total,
    against_prediction,
)
from holdfast.training.optimizers import SGD, Adam, AdamW, RMSProp
from holdfast.training.parseval import Parseval, tightness
from holdfast.training.precomputed import Stored, adversarial_training_1, stored
from holdfast.training.randomized import AtRandomSize, OneAtRandom
from holdfast.training.rates import Constant, Cosine, MultiStep, OneCycle, StepDecay, WarmUp
from holdfast.training.run import train_data
from holdfast.training.schedule import Schedule
from holdfast.training.selection import Selection
from holdfast.training.start import start_from
from holdfast.training.surrogate import Surrogate, distill, substitute
from holdfast.training.trainer import TrainingError, fit
from holdfast.training.validation import Validation, hold_out

__all__ = [
    "SGD",
    "TRADES",
    "Adam",
    "AdamW",
    "AdvTrainII",
    "Adversarial",
    "AtRandomSize",
    "Augmented",
    "Constant",
    "Cosine",
    "DeepDefense",
    "Denoising",
    "Distillation",
    "EnsembleAdversarial",
    "FromCache",
    "Frozen",
    "GradientCache",
    "Hook",
    "LogitPairing",
    "MultiStep",
    "NoiseAugmentation",
    "OneAtRandom",
    "OneCycle",
    "Parseval",
    "Processes",
    "RMSProp",
    "Schedule",
    "Selection",
    "Stability",
    "Standard",
    "StepDecay",
    "Stored",
    "SupervisedDenoising",
    "Surrogate",
    "Total",
    "TrainingError",
    "Validation",
    "WarmUp",
    "adversarial_training_1",
    "against_prediction",
    "distill",
    "fit",
    "hold_out",
    "start_from",
    "stored",
    "substitute",
    "tightness",
    "train_data",
]
