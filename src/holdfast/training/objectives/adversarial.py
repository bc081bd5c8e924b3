"""Adversarial training: cross-entropy on adversarial examples, or on a mixture with clean ones."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from holdfast.attacks import FGSM, Attack
from holdfast.attacks.engine.roles import Role, rebuilt
from holdfast.errors import InputError
from holdfast.goals import AgainstPrediction, toward_least_likely
from holdfast.random import Stream
from holdfast.training.objectives.crafting import craft
from holdfast.training.objectives.names import OBJECTIVES
from holdfast.types import Goal, Images, Labels, Model, TargetedGoal, Threat

__all__ = ["AdvTrainII", "Adversarial", "against_prediction"]


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """(1 - a) · CE(f(x), y) + a · CE(f(x_adv), y).

    With a PGD attack and a = 1 this is Madry et al.'s min-max problem (EAT equation 1, SO 2.4).
    With FGSM and a = 1/2 it is EAT's adversarial training (C.2); let that attack be
    `against_prediction`, since an FGSM example made from the true label tells the network that
    label ("label leaking").

    When:
        With PGD, the baseline that holds in the ball it was trained in, and in no other norm. It
        costs clean accuracy, and overfits to its attack: keep the best epoch on held-out images.
        With FGSM alone, look for masking by `RFGSM` and `PGD`.

    Attributes:
        attack: makes x_adv; use one without early stopping, so that all examples cost the same
            strength.
        weight: a in [0, 1], of the adversarial examples.
        replace: how a weighs: False, in the loss, where every image appears both clean and
            adversarial, as in EAT's code for MNIST; True, by the number of images, of which the
            batch's first a · N are replaced by adversarial ones, as EAT 4.2 does on ImageNet.
        attack_in_eval: attack the network in evaluation mode; otherwise in training mode, with
            dropout, and batch normalisation counting the attack's images too.

    Raises:
        InputError: if the weight is not between 0 and 1, or no image would be replaced.

    Reference:
        Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018;
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, section 4.2 and appendix C.2.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.random import Stream
        >>> from holdfast.training import Adversarial
        >>> objective = Adversarial(PGD(Linf(0.3), steps=7, early_stop=False))
        >>> loss, terms = objective(model, x, y, Stream.of(0, torch.arange(4)))
        >>> float(terms["robust_accuracy"])
        0.0
    """

    attack: Attack = field(kw_only=False)
    weight: float = 1.0
    replace: bool = False
    attack_in_eval: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise InputError(f"weight is {self.weight}, but lies between 0 and 1.")
        if self.replace and self.weight == 0:
            raise InputError("weight is 0, so that no image would be replaced; use Standard.")

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        if self.replace:
            return self._replacing(model, x, y, rng)
        x_adv = craft(self.attack, model, x, y, rng, in_eval=self.attack_in_eval)
        adversarial_logits = model(x_adv)
        adversarial = functional.cross_entropy(adversarial_logits, y)
        logs = {
            "adversarial": adversarial,
            "robust_accuracy": _accuracy(adversarial_logits, y),
        }
        if self.weight == 1:
            return adversarial, {"loss": adversarial, **logs}
        logits = model(x)
        clean = functional.cross_entropy(logits, y)
        loss = (1 - self.weight) * clean + self.weight * adversarial
        return loss, {"loss": loss, "clean": clean, "accuracy": _accuracy(logits, y), **logs}

    def _replacing(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The batch is in random order already, so that its first images are random ones."""
        count = max(1, math.floor(self.weight * len(x) + 0.5))
        first = torch.arange(count, device=x.device)
        x_adv = craft(
            self.attack, model, x[:count], y[:count], rng.take(first), in_eval=self.attack_in_eval
        )
        logits = model(torch.cat([x_adv, x[count:]]))
        loss = functional.cross_entropy(logits, y)
        return (
            loss,
            {
                "loss": loss,
                "accuracy": _accuracy(logits, y),  # of the mixture
                "adversarial": functional.cross_entropy(logits[:count], y[:count]),
                "robust_accuracy": _accuracy(logits[:count], y[:count]),
            },
        )


@OBJECTIVES.named("adv-train-2")
def AdvTrainII(threat: Threat, *, alpha: float = 0.5) -> Adversarial:
    """Adv. Train II: α · CE(f(x), y) + (1 - α) · CE(f(x_FGS), y), the label that of the data set.

    The attack is made from the true label, as the method has it, and therefore leaks it: accuracy
    on FGS examples may rise above that on clean ones. EAT's form uses predicted labels.

    When:
        To reproduce Deep Defense's comparison, or Goodfellow et al.

    When not:
        As a defence against several steps: `Adversarial` with PGD. Where labels must not leak: the
        objective `fgsm`, against predicted classes.

    Traps:
        It is made from the true label and leaks it. α weighs the clean images, where ``weight`` of
        `Adversarial` weighs the adversarial ones.

    Args:
        threat: the ball; its ε is the step.
        alpha: weight α in [0, 1] of the clean images; 0.5 in Goodfellow et al., and Yan et al. name
            none.

    Reference:
        Yan et al., "Deep Defense", NeurIPS 2018, supplement 2; Goodfellow et al., "Explaining and
        harnessing adversarial examples", ICLR 2015, section 6.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.training import AdvTrainII
        >>> AdvTrainII(Linf(0.1), alpha=0.25).weight  # of the adversarial half
        0.75
    """
    return Adversarial(attack=FGSM(threat), weight=1 - alpha)


def against_prediction(attack: Attack) -> Attack:
    """The attack, each of its goals meeting the model's prediction in place of the label.

    What comes out does not depend on the true label, so that it cannot leak (EAT C.2). A goal that
    asks for no label by itself, towards the least likely class, stays as it is.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.training import Adversarial, against_prediction
        >>> against_prediction(FGSM(Linf(0.1))).goal
        AgainstPrediction(goal=cross_entropy)
        >>> objective = Adversarial(against_prediction(FGSM(Linf(0.1))), weight=0.5)
    """

    def hidden(goal: Goal | TargetedGoal) -> Goal | TargetedGoal:
        harmless = isinstance(goal, AgainstPrediction) or goal == toward_least_likely
        return goal if harmless else AgainstPrediction(goal)

    return rebuilt(attack, {Role.ATTACK: against_prediction, Role.GOAL: hidden})


def _accuracy(logits: Tensor, y: Tensor) -> Tensor:
    return (logits.argmax(dim=1) == y).float().mean()
