"""Input dropout as a layer in front of any network that is trained (EAT C.2)."""

from torch import nn

from holdfast.defenses import LAYERS
from holdfast.errors import InputError

__all__ = ["InputDropout"]


@LAYERS.named("dropout")
class InputDropout(nn.Dropout):
    """Drops a fraction of the pixels in training, and nothing afterwards: `B` is it before `Bstar`.

    Single-step adversarial training masks less behind it, since the examples get more diverse; so
    in B, while A, C and D gain little.

    When:
        In single-step adversarial training, and to rebuild the paper's networks.

    When not:
        As a defence of a finished network, where it does nothing.

    Traps:
        It draws in training mode only: a source that crafts with its dropout on, as EAT's code lets
        it, is another source. The networks B and B* differ by this layer alone.

    Args:
        rate: fraction of the pixels that are set to 0, in [0, 1); 0.2 in B.

    Raises:
        InputError: if the rate lies outside [0, 1).

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, appendix C.2.

    Example:
        >>> from torch import nn
        >>> from holdfast.models import InputDropout
        >>> layer = InputDropout(0.5)
        >>> bool((layer(torch.ones(1, 1, 8, 8)) == 0).any()), bool((layer.eval()(x) == x).all())
        (True, True)
    """

    def __init__(self, rate: float = 0.2) -> None:
        if not 0 <= rate < 1:
            raise InputError(f"the rate is {rate}, but a fraction of the pixels is in [0, 1).")
        super().__init__(rate)
