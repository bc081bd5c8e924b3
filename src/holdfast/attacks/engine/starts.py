"""Where an ascent begins."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from holdfast.random import Stream
from holdfast.types import Images, Threat

__all__ = ["NormalStep", "RandomStep", "at_image", "in_ball"]


@runtime_checkable
class Start(Protocol):
    """(x0, threat, stream) -> a point within the threat model around x0."""

    def __call__(self, x0: Images, threat: Threat, rng: Stream) -> Images:
        """The first iterate."""
        ...


@dataclass(frozen=True, repr=False)
class AtImage:
    """At the clean image itself.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import at_image
        >>> from holdfast.random import Stream
        >>> bool((at_image(x, Linf(0.1), Stream.of(0, torch.arange(4))) == x).all())
        True
    """

    def __call__(self, x0: Images, threat: Threat, rng: Stream) -> Images:
        """A copy of ``x0``."""
        del threat, rng
        return x0.clone()

    def __repr__(self) -> str:
        return "at_image"


@dataclass(frozen=True, repr=False)
class InBall:
    """At a random point of the ball, drawn uniformly (Madry et al. 2018).

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import in_ball
        >>> from holdfast.random import Stream
        >>> start = in_ball(x, Linf(0.1), Stream.of(0, torch.arange(4)))
        >>> bool((start != x).any()), bool((start - x).abs().max() <= 0.1)
        (True, True)
    """

    def __call__(self, x0: Images, threat: Threat, rng: Stream) -> Images:
        """A draw from the threat model."""
        return threat.sample(x0, rng)

    def __repr__(self) -> str:
        return "in_ball"


@dataclass(frozen=True)
class RandomStep:
    """A step of length α in a random direction: x' = x + α · sign(N(0, I)) in ℓ∞ (EAT equation 7).

    In another norm the sign becomes that norm's own unit step along N(0, I).

    Attributes:
        alpha: length α of the step, at least 0.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import RandomStep
        >>> from holdfast.random import Stream
        >>> grey = torch.full((1, 1, 8, 8), 0.5)
        >>> start = RandomStep(0.05)(grey, Linf(0.1), Stream.of(0, torch.arange(1)))
        >>> bool(torch.allclose((start - grey).abs(), torch.tensor(0.05)))
        True
    """

    alpha: float

    def __call__(self, x0: Images, threat: Threat, rng: Stream) -> Images:
        """The image after the random step."""
        step = threat.steepest(rng.normal(x0.shape[1:], x0.dtype))
        return threat.project(x0 + self.alpha * step, x0)


@dataclass(frozen=True)
class NormalStep:
    """A little beside the clean image: x' = x + σ · N(0, I), brought into the threat model.

    Attributes:
        sigma: σ of the noise, at least 0; 0.001 in TRADES.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import Ascent, NormalStep
        >>> ascent = Ascent(threat=Linf(0.1), steps=10, step_size=0.02, start=NormalStep(0.001))
        >>> x_adv = ascent(model, x, y, seed=0)
        >>> bool((x_adv - x).abs().max() <= 0.1)
        True
    """

    sigma: float

    def __call__(self, x0: Images, threat: Threat, rng: Stream) -> Images:
        """The image after the random step."""
        return threat.project(x0 + self.sigma * rng.normal(x0.shape[1:], x0.dtype), x0)


at_image = AtImage()
in_ball = InBall()
