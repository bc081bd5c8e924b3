"""Certificates: what is proven about a classifier that votes over Gaussian noise."""

from holdfast.certify.certify import ABSTAIN as ABSTAIN
from holdfast.certify.certify import Certificates as Certificates
from holdfast.certify.certify import certify as certify
from holdfast.certify.intervals import ClopperPearson as ClopperPearson
from holdfast.certify.renyi import renyi_radius as renyi_radius
