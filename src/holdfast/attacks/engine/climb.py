"""Attacks that climb a score, and so can be repeated on one that has been stated already."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.attacks.engine.attack import Attack
from holdfast.random import Stream, drawing_from
from holdfast.types import Callback, Goal, Images, Labels, Model, Score

__all__ = ["Climb"]


@dataclass(frozen=True, kw_only=True)
class Climb(Attack):
    """State a goal, then climb its score; a new one has a field ``goal: Goal``, and writes `climb`.

    Attributes:
        goal: what to ascend; a field, or a property of what is made of another climb.

    Example:
        >>> from dataclasses import dataclass, field
        >>> from holdfast import Linf
        >>> from holdfast.attacks import Climb, Restarts
        >>> from holdfast.goals import margin
        >>> from holdfast.types import Goal, Threat
        >>> @dataclass(frozen=True, kw_only=True)
        ... class OneDraw(Climb):
        ...     threat: Threat = field(kw_only=False)
        ...     goal: Goal = margin
        ...     def climb(self, score, x0, rng, callback=None):
        ...         drawn = self.threat.sample(x0, rng)
        ...         higher = score(drawn).value > score(x0).value
        ...         return torch.where(higher[:, None, None, None], drawn, x0)
        >>> x_adv = Restarts(OneDraw(Linf(0.3)), count=5)(model, x, y, seed=0)
        >>> bool((x_adv - x).abs().max() <= 0.3)
        True
    """

    if TYPE_CHECKING:

        @property
        def goal(self) -> Goal:
            """What to ascend."""

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """State the goal, then climb; see `Attack.perturb`."""
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        return self.climb(score, x0, rng, callback)

    @abstractmethod
    def climb(
        self, score: Score, x0: Images, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Ascend a score that has been stated already.

        Args:
            score: of the examples ``x0``.
            x0: (N, C, H, W) clean images in [0, 1].
            rng: all randomness, keyed by example.
            callback: receives every iteration.

        Returns:
            (N, C, H, W) images within the threat model.
        """
