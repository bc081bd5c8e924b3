"""Confidence limits for the two leading classes, one construction a file."""

from holdfast.certify.intervals.clopper_pearson import ClopperPearson
from holdfast.certify.intervals.hoeffding import Hoeffding
from holdfast.certify.intervals.interval import Interval, Limits, least_draws
from holdfast.certify.intervals.sison_glaz import SisonGlaz
from holdfast.certify.intervals.two_sample import TwoSample

__all__ = [
    "ClopperPearson",
    "Hoeffding",
    "Interval",
    "Limits",
    "SisonGlaz",
    "TwoSample",
    "least_draws",
]
