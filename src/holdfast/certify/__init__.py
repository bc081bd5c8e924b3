"""Certificates: what is proven about a classifier that votes over noise."""

from holdfast.certify.certify import ABSTAIN as ABSTAIN
from holdfast.certify.certify import Certificates as Certificates
from holdfast.certify.certify import certificates as certificates
from holdfast.certify.certify import certify as certify
from holdfast.certify.cohen import cohen_radius as cohen_radius
from holdfast.certify.intervals import ClopperPearson as ClopperPearson
from holdfast.certify.intervals import Hoeffding as Hoeffding
from holdfast.certify.intervals import TwoSample as TwoSample
from holdfast.certify.laplace import laplace_radius as laplace_radius
from holdfast.certify.pixeldp import pixeldp_radius as pixeldp_radius
from holdfast.certify.renyi import renyi_radius as renyi_radius
from holdfast.certify.sampling import Sampling as Sampling
from holdfast.certify.sequential import AtLeast as AtLeast
from holdfast.certify.sequential import Sequential as Sequential
from holdfast.certify.sequential import Within as Within
from holdfast.certify.sison_glaz import SisonGlaz as SisonGlaz
