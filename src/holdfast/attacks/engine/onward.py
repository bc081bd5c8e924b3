"""Attacks that can go on from a point that fools already."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from holdfast.attacks.engine.attack import Attack
from holdfast.random import Stream
from holdfast.types import Callback, Images, Labels, Model

__all__ = ["Onward"]


@dataclass(frozen=True, kw_only=True)
class Onward(Attack):
    """Look for the closest fooling point, from the image or from any other; write `onward`.

    Example:
        >>> from dataclasses import dataclass, field
        >>> from holdfast import L2
        >>> from holdfast.attacks import Onward
        >>> from holdfast.types import Threat
        >>> @dataclass(frozen=True, kw_only=True)
        ... class HalfWay(Onward):
        ...     threat: Threat = field(kw_only=False)
        ...     def onward(self, model, x0, start, y, rng, callback=None):
        ...         half = (x0 + start) / 2
        ...         fools = model(half).argmax(dim=1) != y
        ...         return torch.where(fools[:, None, None, None], half, start)
        >>> x_adv = HalfWay(L2(float("inf")))(model, x, y)
        >>> bool((x_adv == x).all())  # called by itself it begins at the image
        True
    """

    finds_smallest: ClassVar[bool] = True

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Begin at the image; see `Attack.perturb`."""
        return self.onward(model, x0, x0, y, rng, callback)

    @abstractmethod
    def onward(
        self,
        model: Model,
        x0: Images,
        start: Images,
        y: Labels,
        rng: Stream,
        callback: Callback | None = None,
    ) -> Images:
        """As `Attack.perturb`, from another point.

        Args:
            model: maps (N, C, H, W) in [0, 1] to logits (N, K).
            x0: (N, C, H, W) clean images in [0, 1].
            start: (N, C, H, W) where to begin: the closest point known, or the image.
            y: (N,) labels.
            rng: all randomness, keyed by example.
            callback: receives every iteration.
        """
