"""Training: one trainer, and objectives that it knows nothing about."""

from holdfast.training.drawn import AtRandomSize as AtRandomSize
from holdfast.training.drawn import OneAtRandom as OneAtRandom
from holdfast.training.frozen import Frozen as Frozen
from holdfast.training.objectives import TRADES as TRADES
from holdfast.training.objectives import Adversarial as Adversarial
from holdfast.training.objectives import AdvTrainII as AdvTrainII
from holdfast.training.objectives import Denoising as Denoising
from holdfast.training.objectives import Distillation as Distillation
from holdfast.training.objectives import EnsembleAdversarial as EnsembleAdversarial
from holdfast.training.objectives import LogitPairing as LogitPairing
from holdfast.training.objectives import NoiseAugmentation as NoiseAugmentation
from holdfast.training.objectives import Stability as Stability
from holdfast.training.objectives import Standard as Standard
from holdfast.training.objectives import SupervisedDenoising as SupervisedDenoising
from holdfast.training.objectives import against_prediction as against_prediction
from holdfast.training.run import train_data as train_data
from holdfast.training.signs import AlongSigns as AlongSigns
from holdfast.training.signs import Signs as Signs
from holdfast.training.surrogate import Surrogate as Surrogate
from holdfast.training.surrogate import distill as distill
from holdfast.training.surrogate import substitute as substitute
from holdfast.training.trainer import Schedule as Schedule
from holdfast.training.trainer import TrainingError as TrainingError
from holdfast.training.trainer import fit as fit
