"""Adversarial training: cross-entropy on adversarial examples, or on both halves of a mixture."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from holdfast.attacks import Attack
from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.tensors import eval_mode
from holdfast.types import Images, Labels, Model


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """(1 - a) · CE(f(x), y) + a · CE(f(x_adv), y), the attack running on f in evaluation mode.

    With a PGD attack and a = 1 this is Madry et al.'s min-max problem (EAT equation 1, SO 2.4).
    With FGSM and a = 1/2 it is EAT's adversarial training (C.2); let that attack ascend
    `holdfast.goals.AgainstPrediction`, since an FGSM example made from the true label tells the
    network that label ("label leaking").

    Attributes:
        attack: makes x_adv; use one without early stopping, so that all examples cost the same
            strength.
        share: weight a in [0, 1] of the adversarial half.

    Reference:
        Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018;
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, appendix C.2.
    """

    attack: Attack
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"share is {self.share}, but is a weight between 0 and 1.")

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        with eval_mode(model):
            x_adv = self.attack.perturb(model, x, y, rng.fold("attack"))
        adversarial_logits = model(x_adv)
        adversarial = functional.cross_entropy(adversarial_logits, y)
        robust = (adversarial_logits.argmax(dim=1) == y).float().mean()
        logs = {"adversarial": adversarial, "robust_accuracy": robust}
        if self.share == 1:
            return adversarial, {"loss": adversarial, **logs}
        logits = model(x)
        clean = functional.cross_entropy(logits, y)
        loss = (1 - self.share) * clean + self.share * adversarial
        accuracy = (logits.argmax(dim=1) == y).float().mean()
        return loss, {"loss": loss, "clean": clean, "accuracy": accuracy, **logs}
