"""Diagnoses: what a model, an attack or a defence does on the way, as arrays and tables."""

from holdfast.diagnose.convergence import convergence
from holdfast.diagnose.curvature import leading_eigenvector, second_order_cosines
from holdfast.diagnose.discrepancy import discrepancy, predictions
from holdfast.diagnose.gradient_norm import gradient_norms
from holdfast.diagnose.hadamard import regular_hadamard
from holdfast.diagnose.perceptual import perceptual_similarity
from holdfast.diagnose.purification import purification
from holdfast.diagnose.run import Traces, trace_purification
from holdfast.diagnose.single_step import linearity
from holdfast.diagnose.subspace import adversarial_directions, share_with_at_least
from holdfast.diagnose.surface import loss_surface, signed_directions

__all__ = [
    "Traces",
    "adversarial_directions",
    "convergence",
    "discrepancy",
    "gradient_norms",
    "leading_eigenvector",
    "linearity",
    "loss_surface",
    "perceptual_similarity",
    "predictions",
    "purification",
    "regular_hadamard",
    "second_order_cosines",
    "share_with_at_least",
    "signed_directions",
    "trace_purification",
]
