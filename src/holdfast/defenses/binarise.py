"""Binarised pixels, the closed-form defence of near-binary images such as MNIST (EAT C.1)."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.defenses.names import LAYERS
from holdfast.errors import InputError

__all__ = ["Binarise"]


@LAYERS.named("binarise")
class Binarise(nn.Module):
    """1 where x > t, and 0 elsewhere.

    In front of a network f it makes ``nn.Sequential(Binarise(), f)``, which no gradient attack
    reaches: put it within `StraightThrough` to attack it honestly. The paper's figure, at most
    11.4 % error, is for I-FGSM, and does not say how its gradient was taken.

    When:
        On images that are black and white already, against small ℓ∞ changes.

    When not:
        Where grey carries meaning; nor against ℓ0, where whole pixels flip.

    Traps:
        No gradient passes: an attack by the bare network's gradient, as the paper's figure may be,
        makes it look stronger than it is. Report BPDA beside it. A pixel within ε of the threshold
        turns all the same.

    Args:
        threshold: t in [0, 1]; 0.5 in the paper.

    Raises:
        InputError: if the threshold lies outside [0, 1].

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, appendix C.1.

    Example:
        >>> from holdfast.defenses import Binarise
        >>> Binarise(0.5)(torch.tensor([[0.2, 0.5, 0.7]]))
        tensor([[0., 0., 1.]])
    """

    #: No gradient passes: an honest attack needs BPDA, or scores alone.
    differentiable: ClassVar[bool] = False
    #: It brings images back towards clean ones, and so resembles the identity.
    purifies: ClassVar[bool] = True

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise InputError(f"the threshold is {threshold}, but pixels lie in [0, 1].")
        self.threshold = threshold
        self.eval()  # it has no mode, and so is never what is left in training mode

    def forward(self, x: Float[Tensor, "n *image"]) -> Float[Tensor, "n *image"]:
        """The thresholded images."""
        return (x > self.threshold).to(x.dtype)

    def get_extra_state(self) -> Tensor:
        """The threshold, so that the fingerprint of a network behind this layer is another."""
        return torch.tensor(self.threshold, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """From what `get_extra_state` gave."""
        self.threshold = float(state)

    def extra_repr(self) -> str:
        """Shown within the model's repr."""
        return f"threshold={self.threshold}"
