"""The balls around given images, for whoever projects into them again and again.

What does not change from step to step is computed once. In ℓ∞ that is all but the clipping.
"""

from dataclasses import dataclass

import torch

from holdfast.types import Images, Positions, Threat

__all__ = ["Around", "Cubes"]


@dataclass(frozen=True, eq=False)
class Around:
    """The balls of any threat.

    Attributes:
        threat: the balls' norm and size.
        centre: (N, C, H, W) images in [0, 1].

    Example:
        >>> from holdfast import L2
        >>> from holdfast.threat.around import Around
        >>> bool((Around(L2(0.5), x).project(x + 1) == L2(0.5).project(x + 1, x)).all())
        True
    """

    threat: Threat
    centre: Images

    def project(self, x: Images) -> Images:
        """Bring every image into its ball and into the box."""
        return self.threat.project(x, self.centre)

    def take(self, index: Positions) -> "Around":
        """The balls of the chosen examples."""
        return Around(self.threat, self.centre[index])


@dataclass(frozen=True, eq=False)
class Cubes:
    """The balls of ℓ∞, cut by the box: low <= x <= high in every pixel.

    Attributes:
        low: (N, C, H, W) in [0, 1].
        high: (N, C, H, W) in [0, 1], nowhere below ``low``.

    Example:
        >>> from holdfast.threat.around import Cubes
        >>> Cubes(torch.tensor([[0.0, 0.4]]), torch.tensor([[0.2, 0.6]])).project(torch.ones(1, 2))
        tensor([[0.2000, 0.6000]])
    """

    low: Images
    high: Images

    def project(self, x: Images) -> Images:
        """Clip every pixel."""
        return torch.clamp(x, self.low, self.high)

    def take(self, index: Positions) -> "Cubes":
        """The cubes of the chosen examples."""
        return Cubes(self.low[index], self.high[index])
