from .by_image import Diagnosis as Diagnosis
from .by_image import diagnose_data as diagnose_data
from .convergence import convergence as convergence
from .curvature import leading_eigenvector as leading_eigenvector
from .curvature import second_order_cosines as second_order_cosines
from .discrepancy import discrepancy as discrepancy
from .discrepancy import predictions as predictions
from .gradient_norm import gradient_norms as gradient_norms
from .hadamard import regular_hadamard as regular_hadamard
from .interval_bounds import IntervalBounds as IntervalBounds
from .interval_bounds import interval_bounds as interval_bounds
from .live_filters import live_filters as live_filters
from .margin import Margins as Margins
from .margin import margins as margins
from .perceptual import perceptual_similarity as perceptual_similarity
from .purification import purification as purification
from .run import Traces as Traces
from .run import trace_purification as trace_purification
from .single_step import linearity as linearity
from .subspace import adversarial_directions as adversarial_directions
from .subspace import fraction_with_at_least as fraction_with_at_least
from .surface import loss_surface as loss_surface
from .surface import signed_directions as signed_directions

__all__ = [
    "Diagnosis",
    "IntervalBounds",
    "Margins",
    "Traces",
    "adversarial_directions",
    "convergence",
    "diagnose_data",
    "discrepancy",
    "fraction_with_at_least",
    "gradient_norms",
    "interval_bounds",
    "leading_eigenvector",
    "linearity",
    "live_filters",
    "loss_surface",
    "margins",
    "perceptual_similarity",
    "predictions",
    "purification",
    "regular_hadamard",
    "second_order_cosines",
    "signed_directions",
    "trace_purification",
]
