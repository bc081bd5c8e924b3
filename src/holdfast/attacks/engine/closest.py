"""What attacks that look for the smallest perturbation share: the closest fooling point so far."""

from collections.abc import Callable

import torch
from torch import Tensor

from holdfast.types import Flags, Images, PerExample, Threat

__all__ = ["Closest"]


class Closest:
    """The closest point of the threat model that reaches the goal, for every example.

    Where none was found `image` is the clean image itself: never black, never a guess.

    Args:
        x0: (N, C, H, W) clean images.
        threat: measures the distance; points beyond its ``eps`` do not count.
        measure: (x, x0) -> (N,), what is to be smallest among the points that count, if not the
            distance.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import Closest
        >>> closest = Closest(torch.zeros(2, 3), L2(1.0))
        >>> reached = torch.tensor([True, False])
        >>> closest.offer(torch.full((2, 3), 0.2), reached)
        tensor([ True, False])
        >>> closest.distance.isfinite()
        tensor([ True, False])
    """

    def __init__(
        self,
        x0: Images,
        threat: Threat,
        measure: Callable[[Images, Images], PerExample] | None = None,
    ) -> None:
        self.image = x0.clone()
        self.distance: PerExample = torch.full((len(x0),), torch.inf, device=x0.device)
        self.x0, self.threat, self._measure = x0, threat, measure
        self._least = self.distance.clone()

    @property
    def found(self) -> Flags:
        """(N,) whether a point has been found."""
        return self.distance.isfinite()

    def improvable(self, threat: Threat, early_stop: bool) -> Flags:
        """(N,) which examples are worth more calls.

        Args:
            threat: the attack's, which may have a limit where the tracker has none.
            early_stop: whether any point within ``threat`` is enough; otherwise only the clean
                image itself is.
        """
        if early_stop:
            return ~(self.found & _within(self.distance, threat))
        return self.distance > 0

    def offer(self, x: Images, reached: Flags, position: Tensor | None = None) -> Flags:
        """Keep the points that reach the goal and are closer than what is held.

        Args:
            x: (M, C, H, W) points of the box.
            reached: (M,) whether they reach the goal, by a forward pass at this very point.
            position: (M,) which examples they belong to, each at most once; all by default.

        Returns:
            (M,) which of them are kept.
        """
        (hit,) = torch.nonzero(reached, as_tuple=True)
        place = hit if position is None else position[hit]
        x, x0 = x.index_select(0, hit), self.x0.index_select(0, place)
        distance = self.threat.distance(x, x0).to(self.distance)
        least = distance if self._measure is None else self._measure(x, x0).to(self.distance)
        (closer,) = torch.nonzero(
            _within(distance, self.threat) & (least < self._least[place]), as_tuple=True
        )
        place = place[closer]
        self._least[place] = least[closer]
        self.distance[place] = distance[closer]
        self.image[place] = x.index_select(0, closer)
        better = torch.zeros_like(reached)
        better[hit[closer]] = True
        return better

    def limited(self, threat: Threat) -> "Closest":
        """Of the points held, those that also lie within ``threat``."""
        limited = Closest(self.x0, threat)
        limited.offer(self.image, self.found)
        return limited


def _within(distance: PerExample, threat: Threat) -> Flags:
    # The budget is enforced to one part in a million; half of that absorbs float32's rounding.
    return distance <= threat.eps * (1 + 5e-7)
