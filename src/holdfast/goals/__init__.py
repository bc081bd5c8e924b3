"""Goals: what an attacker wants, as scores to ascend.

`Untargeted` leaves the true class, `Toward` reaches a chosen one; both turn any loss on logits into
a score. `TopMargin` pushes the label out of the first k classes. The others are goals made of
goals: `AgainstPrediction` replaces the label by the model's own prediction, so that a training
attack cannot leak the label (EAT appendix C.2); `FromClean` asks for no label, but leaves the
model's own answer on the clean image, as TRADES does; `Minus` takes a penalty off, as R+PGD does
(MALADE 2.1.2); `AverageOf` looks at several models at once.
"""

from holdfast.goals.average import AverageOf
from holdfast.goals.from_clean import Divergence, FromClean, kl_from_clean
from holdfast.goals.logits import logits_of
from holdfast.goals.penalized import Minus, Penalty, ReconstructionError, reconstruction_error
from holdfast.goals.targeted import (
    LeaveToward,
    Target,
    TargetedLoss,
    Toward,
    leave_toward_dlr,
    toward,
    toward_least_likely,
)
from holdfast.goals.top import TopMargin
from holdfast.goals.untargeted import (
    AgainstPrediction,
    Untargeted,
    clipped_cross_entropy,
    cross_entropy,
    dlr,
    margin,
)

__all__ = [
    "AgainstPrediction",
    "AverageOf",
    "Divergence",
    "FromClean",
    "LeaveToward",
    "Minus",
    "Penalty",
    "ReconstructionError",
    "Target",
    "TargetedLoss",
    "TopMargin",
    "Toward",
    "Untargeted",
    "clipped_cross_entropy",
    "cross_entropy",
    "dlr",
    "kl_from_clean",
    "leave_toward_dlr",
    "logits_of",
    "margin",
    "reconstruction_error",
    "toward",
    "toward_least_likely",
]
