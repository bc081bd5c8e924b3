"""EOT, expectation over transformation: how any attack is run on a stochastic model."""

from dataclasses import dataclass, field, replace

from holdfast.attacks.engine.attack import Attack, follows_gradients
from holdfast.attacks.engine.compose import Worst
from holdfast.attacks.engine.roles import Role, rebuilt
from holdfast.attacks.engine.transfer import On, spending
from holdfast.attacks.guarded import Guarded
from holdfast.gradients import Autograd, Average, UnitDraw
from holdfast.parameters import at_least_one
from holdfast.random import Stream
from holdfast.types import Callback, Gradient, Images, Labels, Model, Threat
from holdfast.votes import MeanScore

__all__ = ["OnMeanScore", "against_randomness"]


def against_randomness(attack: Attack, samples: int, votes: int = 100) -> Attack:
    """The attack as it must be run on a stochastic model: expectation over transformation.

    Exact gradients become averages over ``samples`` draws of the model's randomness, and so do the
    answers that an attack without gradients goes by; no image is given up at its first lucky draw,
    and a cascade decides by majority vote. An attack that is crafted `On` another model stays as it
    is: that model's randomness is not this one's.

    Args:
        attack: any attack, also a composed one.
        samples: number of draws for a gradient, or for an answer.
        votes: number of draws for a prediction.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD, Square, against_randomness
        >>> against_randomness(PGD(Linf(0.3)), samples=20).gradient
        Average(samples=20, noise=0.0, memory=None)
        >>> type(against_randomness(Square(Linf(0.3)), samples=20)).__name__
        'OnMeanScore'
    """
    if isinstance(attack, On | OnMeanScore):
        return attack
    if isinstance(attack, Guarded):  # whose gradients are its own
        return replace(attack, samples=samples)
    if not (isinstance(attack, Worst) or follows_gradients(attack)):
        return OnMeanScore(spending(attack), samples=samples)

    def average(gradient: Gradient) -> Gradient:
        if isinstance(gradient, UnitDraw):  # the mean is over the model's draws, never over d
            return replace(gradient, gradient=average(gradient.gradient))
        return Average(samples=samples) if isinstance(gradient, Autograd) else gradient

    return rebuilt(
        attack,
        {
            Role.ATTACK: lambda part: against_randomness(part, samples, votes),
            Role.GRADIENT: average,
            Role.EARLY_STOP: lambda _: False,
            Role.VOTES: lambda _: votes,
        },
    )


@dataclass(frozen=True, kw_only=True)
class OnMeanScore(Attack):
    """Run an attack that sees answers alone on a stochastic model's mean scores over some draws.

    Of single answers it would keep the luckiest, which fool nobody a second time.

    Attributes:
        attack: what to run.
        samples: draws for each answer, at least 1.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import OnMeanScore, Square
        >>> from holdfast.defenses import GaussianNoise
        >>> noisy = nn.Sequential(GaussianNoise(0.1), model)
        >>> x_adv = OnMeanScore(Square(Linf(0.3), queries=20), samples=5)(noisy, x, y, seed=0)
        >>> bool((x_adv - x).abs().max() <= 0.3)
        True
    """

    attack: Attack = field(kw_only=False)
    samples: int

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(samples=self.samples)

    @property
    def threat(self) -> Threat:
        """That of the attack."""
        return self.attack.threat

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Run the attack on the mean; see `Attack.perturb`."""
        return self.attack.perturb(MeanScore(model, self.samples), x0, y, rng, callback)
