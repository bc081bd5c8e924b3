"""Gradient estimators: from a score to its value and gradient at x, in true scale and sign.

They plug into every gradient attack that ascends a score; `Forward` serves those that look at every
class. `autograd` is the exact gradient. `Average` is the mean over copies: with noise on the image
it is the second-order attack's gradient (SO equation 4), without it is expectation over
transformation, EOT, over the model's own randomness. `UnitDraw` is the gradient at a single point
nearby (SO equation 3). `Evolution` and `FiniteDifferences` need scores alone.
"""

from holdfast.gradients.average import QUORUM, Average
from holdfast.gradients.evolution import Evolution
from holdfast.gradients.exact import Autograd, autograd
from holdfast.gradients.finite_differences import FiniteDifferences
from holdfast.gradients.forward import Forward
from holdfast.gradients.unit_draw import UnitDraw

__all__ = [
    "QUORUM",
    "Autograd",
    "Average",
    "Evolution",
    "FiniteDifferences",
    "Forward",
    "UnitDraw",
    "autograd",
]
