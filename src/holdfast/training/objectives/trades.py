"""TRADES: accuracy on clean images, and an answer that does not change within the ball."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor
from torch.nn import functional

from holdfast.attacks import Ascent
from holdfast.attacks.engine.starts import NormalStep, Start
from holdfast.errors import InputError
from holdfast.goals import Divergence, FromClean, logits_of
from holdfast.losses import kl_divergence
from holdfast.random import Stream
from holdfast.recorded import with_fields
from holdfast.training.objectives.crafting import craft
from holdfast.types import Images, Labels, Model, Threat

__all__ = ["TRADES"]

BESIDE = NormalStep(0.001)


@dataclass(frozen=True, kw_only=True, repr=False)
class TRADES:
    """CE(f(x), y) + β · D(f(x_adv), f(x)), x_adv = argmax D(f(x'), f(x)) over the ball.

    As published D is KL(softmax f(x) ‖ softmax f(x_adv)), and the gradients of both its arguments
    flow. With D the cross-entropy it is the form in STN 3.4. Inside the attack f(x) is fixed, and
    there the two have the same gradient; outside they differ by the entropy of f(x), which only
    the cross-entropy form lowers.

    When:
        Where clean accuracy is to be traded for robust accuracy by one number, β.

    When not:
        Where the ball alone counts: `Adversarial` with PGD, from which it was not to be told apart
        at equal cost (docs/results/certified-robustness-additive-gaussian-noise/trades.md).

    Traps:
        Begun at the image itself its attack has a gradient of 0. STN prints it with a cross-entropy
        in place of the divergence; the two differ by the entropy of f(x), so β of one is not β of
        the other.

    Attributes:
        threat: the ball.
        steps: of the attack; 10 on CIFAR-10 and 40 on MNIST in the authors' code.
        step_size: of the attack; 2.5 · ε / steps by default; 0.003 of ε = 0.031 and 0.01 of ε = 0.3
            in the authors' code.
        beta: weight β >= 0, 1/λ of the paper, γ of STN; 6 on CIFAR-10, 1 on MNIST.
        divergence: D, `losses.kl_divergence` or `losses.soft_cross_entropy`.
        start: where the attack begins; at 0.001 · N(0, I) beside the image as published, since at
            the image the gradient of D is 0.
        attack_in_eval: attack the network in evaluation mode, as published; otherwise in training
            mode.
        attack: made of these.

    Raises:
        InputError: if beta is no weight, or the attack has no step.

    Reference:
        Zhang et al., "Theoretically principled trade-off between robustness and accuracy", ICML
        2019, equation 5 and algorithm 1.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.random import Stream
        >>> from holdfast.training import TRADES
        >>> objective = TRADES(threat=Linf(0.1), steps=5, beta=6.0)
        >>> loss, terms = objective(model, x, y, Stream.of(0, torch.arange(4)))
        >>> bool(loss > 0)
        True
    """

    threat: Threat
    steps: int = 10
    step_size: float | None = None
    beta: float = 6.0
    divergence: Divergence = kl_divergence
    start: Start = BESIDE
    attack_in_eval: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise InputError(f"beta is {self.beta}, but is a weight of at least 0.")
        self.attack  # noqa: B018  whose parameters are checked

    def __repr__(self) -> str:
        return with_fields(self)

    @cached_property
    def attack(self) -> Ascent:
        """What the inner maximisation runs."""
        step_size = 2.5 * self.threat.eps / max(self.steps, 1)
        return Ascent(
            threat=self.threat,
            steps=self.steps,
            step_size=step_size if self.step_size is None else self.step_size,
            start=self.start,
            goal=FromClean(self.divergence),
            early_stop=False,
        )

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        x_adv = craft(self.attack, model, x, y, rng, in_eval=self.attack_in_eval)
        logits, adversarial_logits = logits_of(model, x), logits_of(model, x_adv)
        clean = functional.cross_entropy(logits, y)
        divergence = self.divergence(adversarial_logits, logits).mean()
        loss = clean + self.beta * divergence
        return loss, {
            "loss": loss,
            "clean": clean,
            "divergence": divergence,
            "accuracy": (logits.argmax(dim=1) == y).float().mean(),
            "robust_accuracy": (adversarial_logits.argmax(dim=1) == y).float().mean(),
        }
