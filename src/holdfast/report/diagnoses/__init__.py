"""Figures of the diagnoses: arrays in, a figure out; they know neither models nor attacks.

Adding one: a file here, an import below.
"""

from holdfast.report.diagnoses.convergence import convergence
from holdfast.report.diagnoses.cosines import cosines
from holdfast.report.diagnoses.directions import directions
from holdfast.report.diagnoses.discrepancies import discrepancies
from holdfast.report.diagnoses.gradient_norms import gradient_norms
from holdfast.report.diagnoses.linearity import linearity
from holdfast.report.diagnoses.spread import margins, similarities
from holdfast.report.diagnoses.surface import surface, surface_3d

__all__ = [
    "convergence",
    "cosines",
    "directions",
    "discrepancies",
    "gradient_norms",
    "linearity",
    "margins",
    "similarities",
    "surface",
    "surface_3d",
]
