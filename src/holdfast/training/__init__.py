"""Training: one trainer, and objectives that it knows nothing about."""

from holdfast.training.hooks import Hook as Hook
from holdfast.training.objectives import Adversarial as Adversarial
from holdfast.training.objectives import Stability as Stability
from holdfast.training.objectives import Standard as Standard
from holdfast.training.optimizers import SGD as SGD
from holdfast.training.optimizers import Adam as Adam
from holdfast.training.optimizers import AdamW as AdamW
from holdfast.training.optimizers import RMSProp as RMSProp
from holdfast.training.processes import Processes as Processes
from holdfast.training.rates import Constant as Constant
from holdfast.training.rates import Cosine as Cosine
from holdfast.training.rates import MultiStep as MultiStep
from holdfast.training.rates import OneCycle as OneCycle
from holdfast.training.rates import StepDecay as StepDecay
from holdfast.training.rates import WarmUp as WarmUp
from holdfast.training.run import train_data as train_data
from holdfast.training.selection import Selection as Selection
from holdfast.training.start import start_from as start_from
from holdfast.training.surrogate import Surrogate as Surrogate
from holdfast.training.surrogate import distill as distill
from holdfast.training.surrogate import substitute as substitute
from holdfast.training.trainer import Schedule as Schedule
from holdfast.training.trainer import TrainingError as TrainingError
from holdfast.training.trainer import fit as fit
from holdfast.training.validation import Validation as Validation
from holdfast.training.validation import hold_out as hold_out
