"""Attacks on models whose answer hangs on the last digits of an image."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from holdfast.attacks import Attack
from holdfast.defenses.straight_through import straight_through
from holdfast.evaluation.hidden.asking import on_grid
from holdfast.evaluation.rounding import to_8_bit
from holdfast.random import Stream, layer_uniform
from holdfast.tensors import expand
from holdfast.types import Callback, Images, Labels, Model, Threat

#: How far beside an image the model is asked: less than half a level of an 8-bit image.
_HAIR = 1e-3


@dataclass(frozen=True, kw_only=True)
class OnGrid(Attack):
    """Run an attack on a model that is asked about 8-bit images alone, and return such images.

    Against one that answers otherwise off the grid, as a detector of adversarial images might.

    Attributes:
        attack: what to run.
    """

    attack: Attack = field(kw_only=False)

    @property
    def threat(self) -> Threat:
        """That of the attack."""
        return self.attack.threat

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Run the attack behind the rounding; see `Attack.perturb`."""
        rounded = nn.Sequential(_Rounding(), model).eval()
        found = self.attack.perturb(rounded, x0, y, rng, callback)
        level, inside = to_8_bit(found, x0, self.threat)
        return torch.where(expand(inside, found), level, found)


@dataclass(frozen=True, kw_only=True)
class Beside(Attack):
    """Run an attack on a model that is asked a random hair beside each image.

    Against one that draws its noise from the image's own digits, a hash: it then draws as often as
    it is asked, and what holds for most draws is what an average over them finds.

    Attributes:
        attack: what to run, as against a stochastic model.
    """

    attack: Attack = field(kw_only=False)

    @property
    def threat(self) -> Threat:
        """That of the attack."""
        return self.attack.threat

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Run the attack behind the hair; see `Attack.perturb`."""
        return self.attack.perturb(nn.Sequential(_Hair(), model).eval(), x0, y, rng, callback)


class _Rounding(nn.Module):
    """To the 8-bit grid, with the gradient of the identity."""

    def forward(self, x: Tensor) -> Tensor:
        return straight_through(on_grid(x.detach()), x)


class _Hair(nn.Module):
    """Uniform noise that no eye and no honest network sees."""

    stochastic = True

    def forward(self, x: Tensor) -> Tensor:
        return (x + _HAIR * (2 * layer_uniform(x) - 1)).clamp(0, 1)
