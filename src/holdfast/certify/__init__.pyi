from .audits import audit as audit
from .audits import audit_certificates as audit_certificates
from .bounds.bound import BOUNDS as BOUNDS
from .bounds.bound import bound as bound
from .bounds.bound import round_down as round_down
from .bounds.cohen import cohen_radius as cohen_radius
from .bounds.laplace import laplace_radius as laplace_radius
from .bounds.pixeldp import pixeldp_radius as pixeldp_radius
from .bounds.renyi import renyi_radius as renyi_radius
from .bounds.top import top_radius as top_radius
from .config import CertificationConfig as CertificationConfig
from .images import certify_images as certify_images
from .input_specific import InputSpecific as InputSpecific
from .intervals.clopper_pearson import ClopperPearson as ClopperPearson
from .intervals.hoeffding import Hoeffding as Hoeffding
from .intervals.interval import INTERVALS as INTERVALS
from .intervals.interval import Interval as Interval
from .intervals.interval import Limits as Limits
from .intervals.interval import least_draws as least_draws
from .intervals.label import LabelLimits as LabelLimits
from .intervals.label import OfLabel as OfLabel
from .intervals.sison_glaz import SisonGlaz as SisonGlaz
from .intervals.stn_2019 import STN2019 as STN2019
from .intervals.two_sample import TwoSample as TwoSample
from .intervals.two_sample_randomised import TwoSampleRandomised as TwoSampleRandomised
from .questions import AtLeast as AtLeast
from .questions import Within as Within
from .result import Certification as Certification
from .run import certify as certify
from .run import certify_data as certify_data
from .sampling import Sampling as Sampling
from .sequential import Sequential as Sequential
from .smoothing import ABSTAIN as ABSTAIN
from .smoothing import Certificates as Certificates
from .smoothing import certificates as certificates
from .top import top_certificates as top_certificates

__all__ = [
    "ABSTAIN",
    "AtLeast",
    "BOUNDS",
    "Certificates",
    "Certification",
    "CertificationConfig",
    "ClopperPearson",
    "Hoeffding",
    "INTERVALS",
    "InputSpecific",
    "Interval",
    "LabelLimits",
    "Limits",
    "OfLabel",
    "STN2019",
    "Sampling",
    "Sequential",
    "SisonGlaz",
    "TwoSample",
    "TwoSampleRandomised",
    "Within",
    "audit",
    "audit_certificates",
    "bound",
    "certificates",
    "certify",
    "certify_data",
    "certify_images",
    "cohen_radius",
    "laplace_radius",
    "least_draws",
    "pixeldp_radius",
    "renyi_radius",
    "round_down",
    "top_certificates",
    "top_radius",
]
