"""Attacks of which something is random for every batch: which one it is, or how large.

The draw is one for all examples, a function of the stream's key alone. In training the key is made
of (seed, step), so that every process of a distributed run draws the same, and so does a resumed
one. `OneByOne` makes it one for each example.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import NormalDist

import torch

from holdfast.attacks import Attack, On, RandomStep
from holdfast.attacks.engine.roles import Role, rebuilt
from holdfast.errors import InputError
from holdfast.random import Stream, hash_seed
from holdfast.types import Callback, Images, Labels, Model, Positions, Threat

__all__ = ["AtRandomSize", "OneAtRandom", "OneByOne", "half_normal", "uniform"]

#: A uniform draw from [0, 1) -> the fraction of ε that this batch gets, in [0, 1].
SizeDistribution = Callable[[float], float]


@dataclass(frozen=True, repr=False)
class _Uniform:
    """ε ~ U[0, ε_max).

    Example:
        >>> from holdfast.training import uniform
        >>> uniform(0.25)  # the fraction of ε_max for a draw from [0, 1)
        0.25
    """

    def __call__(self, u: float) -> float:
        return u

    def __repr__(self) -> str:
        return "uniform"


@dataclass(frozen=True, repr=False)
class _HalfNormal:
    """ε = |t|, t ~ N(0, (ε_max / 2)²) cut off at ±ε_max, two standard deviations.

    Reference:
        Kurakin et al., "Adversarial machine learning at scale", ICLR 2017, section 3; EAT's
        ImageNet models are trained in the same way (EAT 4.1).

    Example:
        >>> from holdfast.training import half_normal
        >>> half_normal(0.0) == 0, half_normal(0.5) < 0.5, round(half_normal(1.0), 6)
        (True, True, 1.0)
    """

    def __call__(self, u: float) -> float:
        inside = math.erf(math.sqrt(2))  # P(|t| <= ε_max)
        return NormalDist(0, 0.5).inv_cdf(0.5 * (1 + u * inside))

    def __repr__(self) -> str:
        return "half_normal"


uniform = _Uniform()
half_normal = _HalfNormal()


@dataclass(frozen=True, kw_only=True)
class AtRandomSize(Attack):
    """An attack whose ε is drawn for every batch; its steps shrink in proportion.

    Kurakin et al. draw ε for each example, which takes `OneByOne` around this.

    Attributes:
        attack: at its largest size ε_max.
        distribution: the distribution of ε / ε_max: `uniform` or `half_normal`.

    Raises:
        InputError: if the attack is crafted on another model; make it `On` of `AtRandomSize`.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.training import AtRandomSize, half_normal
        >>> attack = AtRandomSize(FGSM(Linf(0.1)), distribution=half_normal)
        >>> sizes = [float((attack(model, x, y, seed=step) - x).abs().max()) for step in range(3)]
        >>> len(set(sizes)), max(sizes) <= 0.1
        (3, True)
    """

    attack: Attack = field(kw_only=False)
    distribution: SizeDistribution = uniform

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.attack, On):
            raise InputError(
                "the attack is On another model; draw the size inside, On(source, "
                "AtRandomSize(attack=...)), so that the source is not fingerprinted for each batch."
            )

    @property
    def threat(self) -> Threat:
        """The largest."""
        return self.attack.threat

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Draw a size and attack; see `Attack.perturb`."""
        size = self.distribution(_one_draw(rng, "size"))
        return scaled(self.attack, size).perturb(model, x0, y, rng, callback)


@dataclass(frozen=True, kw_only=True)
class OneAtRandom(Attack):
    """One of several attacks for each batch, all equally likely.

    Attributes:
        attacks: at least one, within one threat.

    Raises:
        InputError: if there is none, or their threats differ.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM, StepLL
        >>> from holdfast.random import Stream
        >>> from holdfast.training import OneAtRandom
        >>> attack = OneAtRandom((FGSM(Linf(0.1)), StepLL(Linf(0.1))))
        >>> sorted({attack.chosen(Stream.of(step, torch.arange(4))) for step in range(20)})
        [0, 1]
    """

    attacks: tuple[Attack, ...] = field(kw_only=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.attacks:
            raise InputError("there is no attack to draw; give at least one.")
        threats = [attack.threat for attack in self.attacks]
        if any(threat != threats[0] for threat in threats):
            raise InputError(
                f"the attacks have the threats {', '.join(map(repr, dict.fromkeys(threats)))}, but "
                "one is drawn from attacks within one threat."
            )

    @property
    def threat(self) -> Threat:
        """That of all of them."""
        return self.attacks[0].threat

    def chosen(self, rng: Stream) -> int:
        """Which attack a batch gets."""
        return int(_one_draw(rng, "which") * len(self.attacks))

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Draw an attack and run it; see `Attack.perturb`."""
        return self.attacks[self.chosen(rng)].perturb(model, x0, y, rng, callback)


@dataclass(frozen=True, kw_only=True)
class OneByOne(Attack):
    """Each example by itself: what an attack draws for a batch is drawn for every example anew.

    Kurakin et al., and EAT on ImageNet, draw ε for each example; `AtRandomSize` alone draws one for
    a batch, whose examples it can then attack together. Nothing else changes, for no attack lets an
    example know of another. But it costs a pass for each, and a network in training mode takes the
    statistics of batch normalisation from one image at a time.

    Attributes:
        attack: what to run on each.

    Reference:
        Kurakin et al., "Adversarial machine learning at scale", ICLR 2017, section 3.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.training import AtRandomSize, OneByOne
        >>> attack = OneByOne(AtRandomSize(FGSM(Linf(0.1))))
        >>> moved = (attack(model, x, y, seed=0) - x).flatten(1).abs().amax(dim=1)
        >>> len(set(moved.tolist()))
        4
    """

    attack: Attack = field(kw_only=False)

    @property
    def threat(self) -> Threat:
        """That of the attack."""
        return self.attack.threat

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Attack one after another; see `Attack.perturb`."""
        found = []
        for place, index in enumerate(rng.index.tolist()):
            here = torch.tensor([place], device=x0.device)
            own = rng.take(here).fold("example", index)
            watch = None if callback is None else _at(here, callback)
            found.append(self.attack.perturb(model, x0[here], y[here], own, watch))
        return torch.cat(found) if found else x0.clone()


def scaled(attack: Attack, factor: float) -> Attack:
    """The attack with its ball and its steps ``factor`` times as large.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import RFGSM
        >>> from holdfast.training.randomized import scaled
        >>> half = scaled(RFGSM(Linf(0.2), alpha=0.1), 0.5)
        >>> half.threat, half.alpha
        (Linf(eps=0.1), 0.05)
    """
    return rebuilt(
        attack,
        {
            Role.ATTACK: lambda part: scaled(part, factor),
            Role.THREAT: lambda threat: replace(threat, eps=factor * threat.eps),
            Role.LENGTH: lambda length: factor * length,
            Role.START: lambda start: (
                RandomStep(factor * start.alpha) if isinstance(start, RandomStep) else start
            ),
        },
    )


def _at(position: Positions, callback: Callback) -> Callback:
    """A callback that is told the place in the whole batch."""
    return lambda step: callback(step._replace(position=position))


def _one_draw(rng: Stream, purpose: str) -> float:
    """One uniform number in [0, 1) for the whole batch."""
    return (hash_seed(rng.key, purpose) >> 11) * 2.0**-53  # as many bits as a float holds exactly
