"""MALT: APGD towards the classes whose boundaries lie nearest, where a linear model puts them."""

from dataclasses import dataclass, field

from holdfast.attacks.apgd import AdaptiveAscent
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.preset import Composed
from holdfast.attacks.engine.repeat import EachTarget
from holdfast.attacks.engine.roles import EarlyStop, Votes
from holdfast.attacks.engine.starts import at_image, in_ball
from holdfast.goals import leave_toward_dlr
from holdfast.gradients import autograd
from holdfast.types import Gradient, TargetedGoal, Threat

__all__ = ["MALT"]


@ATTACKS.named("malt")
@dataclass(frozen=True, kw_only=True)
class MALT(Composed):
    """MALT: APGD on the targeted DLR loss, towards each of the nearest classes in turn.

        L_k as of `APGDT`,  k = the ``targets`` smallest |z_k - z_y| / ‖∇(z_k - z_y)‖_q at the image

    APGD-T takes the likeliest classes for targets, but a likely class may be far: how far is what
    separates the logits over how fast an image can change that. By it three targets do what nine do
    by likelihood, for a forward and nine backward passes more.

    When:
        Where there are many classes, in place of `APGDT`.

    When not:
        With three classes or fewer: both have the same few targets.

    Traps:
        The nearest classes are those of one linearisation at the clean image: on a network whose
        gradient is masked there the ranking says nothing. The ascents' numbers here are ours, so
        its results compare with the paper's only with the paper's targets and steps.

    Attributes:
        threat: the ball of size ε, in ℓ∞, ℓ2 or ℓ1.
        targets: number of classes, of the nine likeliest or more; all others if the model has
            fewer.
        steps: number of steps for each class, shortened by a cosine in ℓ∞ and ℓ2, see
            `holdfast.attacks.engine.step_sizes.Annealing`; by success in the paper.
        goal: what to ascend towards each class.
        gradient: how to estimate the gradient of it.
        early_stop: see `AdaptiveAscent`.
        votes: see `EachTarget`.

    Raises:
        InputError: if targets or steps is below 1.

    Reference:
        Melamed et al., "MALT powers up adversarial attacks", NeurIPS 2024, with nine targets of the
        hundred likeliest and 100 steps for each.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import MALT
        >>> x_adv = MALT(Linf(0.3), targets=1, steps=10)(model, x, y, seed=0)
        >>> int((model(x_adv).argmax(dim=1) == y).sum())
        0
    """

    threat: Threat = field(kw_only=False)
    targets: int = 3
    steps: int = 30
    goal: TargetedGoal = leave_toward_dlr
    gradient: Gradient = autograd
    early_stop: EarlyStop = True
    votes: Votes = field(default=1, repr=False)

    def engine(self) -> EachTarget:
        """The ascent, towards each class."""
        sparse = self.threat.p == 1
        ascent = AdaptiveAscent(
            threat=self.threat,
            steps=self.steps,
            start=at_image if sparse else in_ball,
            gradient=self.gradient,
            annealed=not sparse,
            early_stop=self.early_stop,
        )
        return EachTarget(
            ascent, targets=self.targets, goal=self.goal, nearest=True, votes=self.votes
        )
