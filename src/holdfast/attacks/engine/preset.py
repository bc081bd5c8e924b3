"""Attacks that are a setting of another: under the literature's name, with its parameters."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.climb import Climb
from holdfast.random import Stream
from holdfast.types import Callback, Images, Labels, Model, Score

__all__ = ["Composed", "Preset"]


@dataclass(frozen=True, kw_only=True)
class Preset(Climb):
    """A climb by another's settings; a new one writes `engine`.

    Example:
        >>> from dataclasses import dataclass, field
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD, Preset
        >>> from holdfast.goals import margin
        >>> from holdfast.types import Goal, Threat
        >>> @dataclass(frozen=True, kw_only=True)
        ... class MarginPGD(Preset):
        ...     threat: Threat = field(kw_only=False)
        ...     goal: Goal = margin
        ...     def engine(self):
        ...         return PGD(self.threat, steps=10, goal=self.goal)
        >>> MarginPGD(Linf(0.3))(model, x, y, seed=0).shape
        torch.Size([4, 1, 8, 8])
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._made  # noqa: B018, whose parameters are checked where the attack is made

    @abstractmethod
    def engine(self) -> Climb:
        """What is run."""

    @cached_property
    def _made(self) -> Climb:
        """Made once: to make it takes as long as some steps do."""
        return self.engine()

    def climb(
        self, score: Score, x0: Images, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """As the engine does; see `Climb.climb`."""
        return self._made.climb(score, x0, rng, callback)


@dataclass(frozen=True, kw_only=True)
class Composed(Attack):
    """An attack made of others by their settings; a new one writes `engine`.

    Example:
        >>> from dataclasses import dataclass, field
        >>> from holdfast import Linf
        >>> from holdfast.attacks import APGD, Composed, FGSM, Worst
        >>> from holdfast.types import Threat
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Quick(Composed):
        ...     threat: Threat = field(kw_only=False)
        ...     def engine(self):
        ...         return Worst((FGSM(self.threat), APGD(self.threat, steps=5)))
        >>> Quick(Linf(0.3))(model, x, y, seed=0).shape
        torch.Size([4, 1, 8, 8])
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._made  # noqa: B018

    @abstractmethod
    def engine(self) -> Attack:
        """What is run."""

    @cached_property
    def _made(self) -> Attack:
        return self.engine()

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """As the engine does; see `Attack.perturb`."""
        return self._made.perturb(model, x0, y, rng, callback)
