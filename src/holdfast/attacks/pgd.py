"""PGD: projected gradient ascent from a random start."""

from dataclasses import dataclass, field

from holdfast.attacks.engine.ascent import Ascent
from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.preset import Preset
from holdfast.attacks.engine.repeat import repeated
from holdfast.attacks.engine.roles import EarlyStop, Length, Votes
from holdfast.attacks.engine.starts import at_image, in_ball
from holdfast.goals import cross_entropy
from holdfast.gradients import autograd
from holdfast.types import Goal, Gradient, Threat

__all__ = ["PGD"]


@ATTACKS.named("pgd")
@dataclass(frozen=True, kw_only=True)
class PGD(Preset):
    """Projected gradient descent: x ← Π(x + α · steepest(∇L(x, y))) (SO equation 2).

    When:
        For a first number, and inside training, there with ``early_stop=False``.

    When not:
        For the last number: its step is fixed, and the cross-entropy goes flat where logits are
        large. `APGD` chooses its steps; `dlr` and `margin` do not go flat.

    Traps:
        What saturates looks robust: logits times 10,000 leave a gradient of 0, and an image whose
        gradient is 0 does not move. Name steps, step size, restarts and start beside each number; a
        ball without a limit needs a step size.

    Attributes:
        threat: the ball of size ε; ℓ∞ steps by the sign, ℓ2 by the normalised gradient.
        steps: number of steps.
        step_size: α; 2.5 · ε / steps by default.
        restarts: runs from independent starts, each on the images that the earlier ones left
            robust.
        random_start: begin at a uniform draw from the ball rather than at the image.
        goal: what to ascend.
        gradient: how to estimate its gradient.
        early_stop: see `Ascent`.
        votes: see `Restarts`.

    Raises:
        InputError: if steps or restarts is below 1.

    Reference:
        Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> attack = PGD(Linf(0.3), steps=10, restarts=2)
        >>> x_adv = attack(model, x, y, seed=0)
        >>> int((model(x_adv).argmax(dim=1) == y).sum())  # right after the attack
        0
    """

    threat: Threat = field(kw_only=False)
    steps: int = 40
    step_size: Length | None = None
    restarts: int = 1
    random_start: bool = True
    goal: Goal = cross_entropy
    gradient: Gradient = autograd
    early_stop: EarlyStop = True
    votes: Votes = field(default=1, repr=False)

    def ascent(self) -> Ascent:
        """Steps of α, from the image or beside it."""
        usual = 2.5 * self.threat.eps / max(self.steps, 1)
        return Ascent(
            threat=self.threat,
            steps=self.steps,
            step_size=usual if self.step_size is None else self.step_size,
            start=in_ball if self.random_start else at_image,
            goal=self.goal,
            gradient=self.gradient,
            early_stop=self.early_stop,
        )

    def engine(self) -> Climb:
        """The ascent, and again."""
        return repeated(self.ascent(), self.restarts, self.votes)
