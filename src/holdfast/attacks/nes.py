"""NES: PGD that sees the scores alone, along a gradient estimated from them."""

from dataclasses import dataclass, field
from typing import ClassVar

from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.preset import Preset
from holdfast.attacks.engine.roles import EarlyStop, Length, Votes
from holdfast.attacks.pgd import PGD
from holdfast.goals import cross_entropy
from holdfast.gradients import Evolution
from holdfast.types import Goal, Threat

__all__ = ["NES"]


@ATTACKS.named("nes")
@dataclass(frozen=True, kw_only=True)
class NES(Preset):
    """PGD along a gradient estimated from scores alone, by natural evolution strategies.

        g = 1/(mσ) Σ_i u_i (L(x + σ u_i) - L(x - σ u_i)),  over m/2 draws u_i ~ N(0, I),
        x ← Π(x + α · steepest(g)).

    It needs no gradient of the model, so what its layers do to one is nothing to it: it has no
    BPDA variant. On a random model it runs on mean scores, as every attack that sees answers alone.

    When:
        Where only scores can be seen and the norm is not one of `Square`'s, or the score has no
        gradient.

    When not:
        Where `Square` runs too, which mostly needs fewer queries.

    Traps:
        With the paper's σ = 0.001 differences drown in the rounding of single precision; the
        default is larger. A cross-entropy that is 0 in float32 gives differences of 0, and the walk
        stays where it is.

    Attributes:
        threat: the ball of size ε.
        steps: number of steps; each costs ``samples`` + 1 forward passes.
        step_size: α; 2.5 · ε / steps by default.
        samples: images around x that are asked at every step, even and at least 2.
        sigma: standard deviation of the search, above 0, on the [0, 1] scale.
        restarts: runs, each on the images that the earlier ones left robust.
        random_start: begin at a uniform draw from the ball; the paper begins at the image.
        goal: what to ascend.
        early_stop: see `Ascent`.
        votes: see `Restarts`.

    Raises:
        InputError: if samples is odd, sigma is not positive, or steps or restarts is below 1.

    Reference:
        Ilyas et al., "Black-box adversarial attacks with limited queries and information", ICML
        2018, section 2.1 and algorithm 1; samples = 50 and sigma = 0.001 in its experiments. The
        default σ is larger, for scores in single precision.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import NES
        >>> NES(Linf(0.3), steps=5, samples=20)(model, x, y, seed=0).shape
        torch.Size([4, 1, 8, 8])
    """

    follows_gradients: ClassVar[bool] = False

    threat: Threat = field(kw_only=False)
    steps: int = 40
    step_size: Length | None = None
    samples: int = 50
    sigma: float = 0.01
    restarts: int = 1
    random_start: bool = False
    goal: Goal = cross_entropy
    early_stop: EarlyStop = True
    votes: Votes = field(default=1, repr=False)

    def engine(self) -> Climb:
        """PGD with another gradient."""
        return PGD(
            self.threat,
            steps=self.steps,
            step_size=self.step_size,
            restarts=self.restarts,
            random_start=self.random_start,
            goal=self.goal,
            gradient=Evolution(samples=self.samples, sigma=self.sigma),
            early_stop=self.early_stop,
            votes=self.votes,
        )
