"""Attacks: callables (model, x, y) -> x_adv whose repr records every parameter."""

from holdfast.attacks.adaptive import BPDA, adapted, adaptive, regularize, variants_of
from holdfast.attacks.apgd import APGD, APGDT, AdaptiveAscent
from holdfast.attacks.boundary import Boundary
from holdfast.attacks.carlini_wagner import CarliniWagner
from holdfast.attacks.ddn import DDN
from holdfast.attacks.deepfool import DeepFool, deepfool_perturbation
from holdfast.attacks.ead import EAD, least_elastic_net, least_l1
from holdfast.attacks.engine.ascent import Ascent
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.boundary_search import Among, uniform_noise
from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.compose import Broken, OnMeanScore, Then, Worst, against_randomness
from holdfast.attacks.engine.directions import Momentum, steepest
from holdfast.attacks.engine.repeat import EachTarget, Restarts
from holdfast.attacks.engine.starts import RandomStep, at_image, in_ball
from holdfast.attacks.engine.transfer import On
from holdfast.attacks.fab import FAB
from holdfast.attacks.fmn import FMN
from holdfast.attacks.hopskipjump import HopSkipJump
from holdfast.attacks.iterative import IFGSM, MIM, PGD, IterLL, SecondOrder
from holdfast.attacks.salt_and_pepper import SaltAndPepper
from holdfast.attacks.single_step import FGSM, RFGSM, RStepLL, StepLL
from holdfast.attacks.spatial import Spatial, SpatialIFGSM
from holdfast.attacks.square import Square, SquareSearch
from holdfast.attacks.suite import WorstCase, worst_case
from holdfast.attacks.trace import Trace

__all__ = [
    "APGD",
    "APGDT",
    "BPDA",
    "DDN",
    "EAD",
    "FAB",
    "FGSM",
    "FMN",
    "IFGSM",
    "MIM",
    "PGD",
    "RFGSM",
    "AdaptiveAscent",
    "Among",
    "Ascent",
    "Attack",
    "Boundary",
    "Broken",
    "CarliniWagner",
    "Climb",
    "Closest",
    "DeepFool",
    "EachTarget",
    "HopSkipJump",
    "IterLL",
    "Momentum",
    "On",
    "OnMeanScore",
    "RStepLL",
    "RandomStep",
    "Restarts",
    "SaltAndPepper",
    "SecondOrder",
    "Spatial",
    "SpatialIFGSM",
    "Square",
    "SquareSearch",
    "StepLL",
    "Then",
    "Trace",
    "Worst",
    "WorstCase",
    "adapted",
    "adaptive",
    "against_randomness",
    "at_image",
    "deepfool_perturbation",
    "in_ball",
    "least_elastic_net",
    "least_l1",
    "regularize",
    "steepest",
    "uniform_noise",
    "variants_of",
    "worst_case",
]
