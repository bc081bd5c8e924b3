"""Diagnoses: what a model, an attack or a defence does on the way, as arrays and tables."""

from holdfast.diagnose.convergence import convergence as convergence
from holdfast.diagnose.curvature import leading_eigenvector as leading_eigenvector
from holdfast.diagnose.curvature import second_order_cosines as second_order_cosines
from holdfast.diagnose.discrepancy import discrepancy as discrepancy
from holdfast.diagnose.discrepancy import predictions as predictions
from holdfast.diagnose.gradient_norm import gradient_norms as gradient_norms
from holdfast.diagnose.hadamard import regular_hadamard as regular_hadamard
from holdfast.diagnose.perceptual import perceptual_similarity as perceptual_similarity
from holdfast.diagnose.purification import purification as purification
from holdfast.diagnose.single_step import linearity as linearity
from holdfast.diagnose.subspace import adversarial_directions as adversarial_directions
from holdfast.diagnose.subspace import share_with_at_least as share_with_at_least
from holdfast.diagnose.surface import loss_surface as loss_surface
from holdfast.diagnose.surface import signed_directions as signed_directions
