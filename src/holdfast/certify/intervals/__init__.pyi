from .clopper_pearson import ClopperPearson as ClopperPearson
from .hoeffding import Hoeffding as Hoeffding
from .interval import INTERVALS as INTERVALS
from .interval import Interval as Interval
from .interval import Limits as Limits
from .interval import least_draws as least_draws
from .label import LabelLimits as LabelLimits
from .label import OfLabel as OfLabel
from .sison_glaz import SisonGlaz as SisonGlaz
from .stn_2019 import STN2019 as STN2019
from .two_sample import TwoSample as TwoSample
from .two_sample_randomised import TwoSampleRandomised as TwoSampleRandomised

__all__ = [
    "ClopperPearson",
    "Hoeffding",
    "INTERVALS",
    "Interval",
    "LabelLimits",
    "Limits",
    "OfLabel",
    "STN2019",
    "SisonGlaz",
    "TwoSample",
    "TwoSampleRandomised",
    "least_draws",
]
