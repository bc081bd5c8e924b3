"""Adversarial logit pairing: alike logits for an image and its adversarial example."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional

from holdfast.attacks import Attack
from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.training.objectives.crafting import craft
from holdfast.types import Images, Labels, Model

__all__ = ["LogitPairing"]


@dataclass(frozen=True, kw_only=True)
class LogitPairing:
    """(CE(f(x), y) + CE(f(x_adv), y)) / 2 + λ · mean (f(x)_k - f(x_adv)_k)², over N and K.

    A batch of both halves, and a pull of each pair of logits towards each other; the gradients of
    both flow. What it reports of its own robustness is known to be too much: Engstrom et al.,
    "Evaluating and understanding the robustness of adversarial logit pairing", 2018.

    When:
        To reproduce or refute it.

    When not:
        For a defence: `Adversarial` or TRADES.

    Traps:
        What the paper reports of its own robustness was refuted by longer attacks. The mean over
        classes is that of the authors' code: where an implementation sums, the same λ weighs K
        times as much.

    Attributes:
        attack: makes x_adv; PGD without early stopping in the paper.
        weight: λ >= 0 of the pairing; 0.5 in the paper on ImageNet.
        attack_in_eval: attack the network in evaluation mode; otherwise in training mode.

    Raises:
        InputError: if the weight is none.

    Reference:
        Kannan, Kurakin and Goodfellow, "Adversarial logit pairing", 2018, section 4.2. The mean
        over classes is that of the authors' code.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.random import Stream
        >>> from holdfast.training import LogitPairing
        >>> objective = LogitPairing(PGD(Linf(0.3), steps=7, early_stop=False), weight=0.5)
        >>> loss, terms = objective(model, x, y, Stream.of(0, torch.arange(4)))
        >>> bool(loss > 0)
        True
    """

    attack: Attack = field(kw_only=False)
    weight: float = 0.5
    attack_in_eval: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise InputError(f"weight is {self.weight}, but is a weight of at least 0.")

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        x_adv = craft(self.attack, model, x, y, rng, in_eval=self.attack_in_eval)
        logits, adversarial_logits = model(x), model(x_adv)
        clean = functional.cross_entropy(logits, y)
        adversarial = functional.cross_entropy(adversarial_logits, y)
        pairing = functional.mse_loss(adversarial_logits, logits)
        loss = 0.5 * (clean + adversarial) + self.weight * pairing
        return loss, {
            "loss": loss,
            "clean": clean,
            "adversarial": adversarial,
            "pairing": pairing,
            "accuracy": (logits.argmax(dim=1) == y).float().mean(),
            "robust_accuracy": (adversarial_logits.argmax(dim=1) == y).float().mean(),
        }
