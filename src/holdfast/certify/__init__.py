"""Certificates: what is proven about a classifier that votes over noise."""

from holdfast.certify.bounds.cohen import cohen_radius
from holdfast.certify.bounds.laplace import laplace_radius
from holdfast.certify.bounds.pixeldp import pixeldp_radius
from holdfast.certify.bounds.renyi import renyi_radius
from holdfast.certify.config import CertificationConfig
from holdfast.certify.intervals.clopper_pearson import ClopperPearson
from holdfast.certify.intervals.hoeffding import Hoeffding
from holdfast.certify.intervals.sison_glaz import SisonGlaz
from holdfast.certify.intervals.two_sample import TwoSample
from holdfast.certify.result import Certification
from holdfast.certify.run import certify, certify_data
from holdfast.certify.sampling import Sampling
from holdfast.certify.sequential import AtLeast, Sequential, Within
from holdfast.certify.smoothing import ABSTAIN, Certificates, certificates, certify_images

__all__ = [
    "ABSTAIN",
    "AtLeast",
    "Certificates",
    "Certification",
    "CertificationConfig",
    "ClopperPearson",
    "Hoeffding",
    "Sampling",
    "Sequential",
    "SisonGlaz",
    "TwoSample",
    "Within",
    "certificates",
    "certify",
    "certify_data",
    "certify_images",
    "cohen_radius",
    "laplace_radius",
    "pixeldp_radius",
    "renyi_radius",
]
