"""Whether a model's logits are so small as a whole that a softmax takes its classes for equal.

Which class is the largest does not hang on the scale, but the cross-entropy's gradient does: of
logits that hardly differ it is the same whatever class is ahead, and leads nowhere.
"""

import math

from torch import Tensor, nn

from holdfast.auditing.fresh import fresh
from holdfast.evaluation.hidden.asking import answer
from holdfast.random import Stream
from holdfast.types import Images, Logits, Model

#: Differences between an image's logits below which no softmax can tell its classes apart, those
#: that logits are brought to, and the largest power of two that they are multiplied by.
_TINY = 1e-3
_USUAL = 10.0
_MOST = 100


class Rescaled(nn.Module):
    """A model whose logits are multiplied by a power of two, which changes no digit of them.

    Args:
        model: with logits that are too small.
        power: of two.
    """

    def __init__(self, model: Model, power: int) -> None:
        super().__init__()
        self.model, self.power = model, power

    def forward(self, x: Images) -> Logits:
        """The larger logits."""
        logits: Tensor = self.model(x)
        wide = logits if logits.itemsize >= 4 else logits.float()
        return wide * 2.0**self.power


def power_of(model: Model, x: Images, rng: Stream) -> int:
    """The power of two that brings tiny logits to a usual size; 0 where they are not tiny.

    Args:
        model: is not asked itself, but by a copy.
        x: a few images.
        rng: seeds what it draws.
    """
    logits = answer(fresh(model), x, seed=rng.key % 2**31)
    spread = float((logits.amax(dim=1) - logits.amin(dim=1)).median())
    if not 0 < spread < _TINY:
        return 0
    return min(round(math.log2(_USUAL / spread)), _MOST)
