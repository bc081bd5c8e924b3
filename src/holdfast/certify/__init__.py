"""Certificates: what is proven about a classifier that votes over noise."""

from holdfast.certify.bounds.cohen import cohen_radius as cohen_radius
from holdfast.certify.bounds.laplace import laplace_radius as laplace_radius
from holdfast.certify.bounds.pixeldp import pixeldp_radius as pixeldp_radius
from holdfast.certify.bounds.renyi import renyi_radius as renyi_radius
from holdfast.certify.intervals.clopper_pearson import ClopperPearson as ClopperPearson
from holdfast.certify.intervals.hoeffding import Hoeffding as Hoeffding
from holdfast.certify.intervals.sison_glaz import SisonGlaz as SisonGlaz
from holdfast.certify.intervals.two_sample import TwoSample as TwoSample
from holdfast.certify.sampling import Sampling as Sampling
from holdfast.certify.sequential import AtLeast as AtLeast
from holdfast.certify.sequential import Sequential as Sequential
from holdfast.certify.sequential import Within as Within
from holdfast.certify.smoothing import ABSTAIN as ABSTAIN
from holdfast.certify.smoothing import Certificates as Certificates
from holdfast.certify.smoothing import certificates as certificates
from holdfast.certify.smoothing import certify as certify
