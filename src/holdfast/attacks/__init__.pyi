from .adam_pgd import AdamPGD as AdamPGD
from .adaptive import VARIANTS as VARIANTS
from .adaptive import Variant as Variant
from .adaptive import adapted as adapted
from .adaptive import adaptive as adaptive
from .adaptive import chosen as chosen
from .adaptive import combined as combined
from .adaptive import variants_of as variants_of
from .alma import ALMA as ALMA
from .apgd import APGD as APGD
from .apgd import APGDT as APGDT
from .apgd import AdaptiveAscent as AdaptiveAscent
from .boundary import Boundary as Boundary
from .bpda import BPDA as BPDA
from .budget import PartWithin as PartWithin
from .budget import parts_within as parts_within
from .carlini_wagner import CarliniWagner as CarliniWagner
from .ddn import DDN as DDN
from .deepfool import DeepFool as DeepFool
from .deepfool import Walk as Walk
from .deepfool import deepfool_perturbation as deepfool_perturbation
from .ead import EAD as EAD
from .ead import least_elastic_net as least_elastic_net
from .ead import least_l1 as least_l1
from .engine.active import Active as Active
from .engine.adaptive_radius import AdaptiveRadius as AdaptiveRadius
from .engine.ascent import Ascent as Ascent
from .engine.attack import Attack as Attack
from .engine.boundary_search import Among as Among
from .engine.boundary_search import uniform_noise as uniform_noise
from .engine.climb import Climb as Climb
from .engine.closest import Closest as Closest
from .engine.closest_of import ClosestOf as ClosestOf
from .engine.compose import Broken as Broken
from .engine.compose import Then as Then
from .engine.compose import Worst as Worst
from .engine.directions import Momentum as Momentum
from .engine.directions import steepest as steepest
from .engine.names import ATTACKS as ATTACKS
from .engine.onward import Onward as Onward
from .engine.penalty_search import PenaltySearch as PenaltySearch
from .engine.preset import Composed as Composed
from .engine.preset import Preset as Preset
from .engine.repeat import EachTarget as EachTarget
from .engine.repeat import Restarts as Restarts
from .engine.roles import AbortEarly as AbortEarly
from .engine.roles import Aim as Aim
from .engine.roles import EarlyStop as EarlyStop
from .engine.roles import Length as Length
from .engine.roles import Votes as Votes
from .engine.starts import NormalStep as NormalStep
from .engine.starts import RandomStep as RandomStep
from .engine.starts import at_image as at_image
from .engine.starts import in_ball as in_ball
from .engine.transfer import On as On
from .eot import OnMeanScore as OnMeanScore
from .eot import against_randomness as against_randomness
from .external.functions import function_attack as function_attack
from .external.names import LIBRARIES as LIBRARIES
from .external.names import library_attack as library_attack
from .fab import FAB as FAB
from .fgsm import FGSM as FGSM
from .fgsm import RFGSM as RFGSM
from .fmn import FMN as FMN
from .greedy import Greedy as Greedy
from .guarded import Guarded as Guarded
from .hopskipjump import HopSkipJump as HopSkipJump
from .ifgsm import IFGSM as IFGSM
from .ifgsm import IterLL as IterLL
from .malt import MALT as MALT
from .mim import MIM as MIM
from .nearest import Nearest as Nearest
from .nes import NES as NES
from .odi import ODI as ODI
from .pdpgd import PDPGD as PDPGD
from .pgd import PGD as PGD
from .regularized import regularize as regularize
from .salt_and_pepper import SaltAndPepper as SaltAndPepper
from .second_order import SecondOrder as SecondOrder
from .second_order import SecondOrderUnitDraw as SecondOrderUnitDraw
from .second_order import falling_sigma as falling_sigma
from .sigma_zero import SigmaZero as SigmaZero
from .sparse_rs import SparseRS as SparseRS
from .sparse_rs import SparseSearch as SparseSearch
from .spatial import Spatial as Spatial
from .spatial import SpatialIFGSM as SpatialIFGSM
from .square import Square as Square
from .square import SquareSearch as SquareSearch
from .step_ll import RStepLL as RStepLL
from .step_ll import StepLL as StepLL
from .suite import AutoAttack as AutoAttack
from .suite import Standard as Standard
from .suite import WorstCase as WorstCase
from .suite import worst_case as worst_case
from .superdeepfool import SuperDeepFool as SuperDeepFool
from .trace import Trace as Trace

__all__ = [
    "ALMA",
    "APGD",
    "APGDT",
    "ATTACKS",
    "AbortEarly",
    "Active",
    "AdamPGD",
    "AdaptiveAscent",
    "AdaptiveRadius",
    "Aim",
    "Among",
    "Ascent",
    "Attack",
    "AutoAttack",
    "BPDA",
    "Boundary",
    "Broken",
    "CarliniWagner",
    "Climb",
    "Closest",
    "ClosestOf",
    "Composed",
    "DDN",
    "DeepFool",
    "EAD",
    "EachTarget",
    "EarlyStop",
    "FAB",
    "FGSM",
    "FMN",
    "Greedy",
    "Guarded",
    "HopSkipJump",
    "IFGSM",
    "IterLL",
    "LIBRARIES",
    "Length",
    "MALT",
    "MIM",
    "Momentum",
    "NES",
    "Nearest",
    "NormalStep",
    "ODI",
    "On",
    "OnMeanScore",
    "Onward",
    "PDPGD",
    "PGD",
    "PartWithin",
    "PenaltySearch",
    "Preset",
    "RFGSM",
    "RStepLL",
    "RandomStep",
    "Restarts",
    "SaltAndPepper",
    "SecondOrder",
    "SecondOrderUnitDraw",
    "SigmaZero",
    "SparseRS",
    "SparseSearch",
    "Spatial",
    "SpatialIFGSM",
    "Square",
    "SquareSearch",
    "Standard",
    "StepLL",
    "SuperDeepFool",
    "Then",
    "Trace",
    "VARIANTS",
    "Variant",
    "Votes",
    "Walk",
    "Worst",
    "WorstCase",
    "adapted",
    "adaptive",
    "against_randomness",
    "at_image",
    "chosen",
    "combined",
    "deepfool_perturbation",
    "falling_sigma",
    "function_attack",
    "in_ball",
    "least_elastic_net",
    "least_l1",
    "library_attack",
    "parts_within",
    "regularize",
    "steepest",
    "uniform_noise",
    "variants_of",
    "worst_case",
]
