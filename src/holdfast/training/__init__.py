"""Training: one trainer, and objectives that it knows nothing about."""

from holdfast.training.objectives import Adversarial as Adversarial
from holdfast.training.objectives import DeepDefense as DeepDefense
from holdfast.training.objectives import Stability as Stability
from holdfast.training.objectives import Standard as Standard
from holdfast.training.objectives import Total as Total
from holdfast.training.parseval import Parseval as Parseval
from holdfast.training.parseval import tightness as tightness
from holdfast.training.run import train_data as train_data
from holdfast.training.stored import Stored as Stored
from holdfast.training.stored import adversarial_training_1 as adversarial_training_1
from holdfast.training.stored import stored as stored
from holdfast.training.surrogate import Surrogate as Surrogate
from holdfast.training.surrogate import distill as distill
from holdfast.training.surrogate import substitute as substitute
from holdfast.training.trainer import Schedule as Schedule
from holdfast.training.trainer import TrainingError as TrainingError
from holdfast.training.trainer import fit as fit
