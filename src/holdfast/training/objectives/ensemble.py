"""Ensemble adversarial training: adversarial examples from other, static networks as well."""

from collections.abc import Sequence

from holdfast.attacks import Attack
from holdfast.training.objectives.adversarial import Adversarial, against_prediction
from holdfast.training.randomized import OneAtRandom

__all__ = ["EnsembleAdversarial"]


def EnsembleAdversarial(
    attack: Attack,
    static: Sequence[Attack],
    *,
    weight: float = 0.5,
    replace: bool = True,
    attack_in_eval: bool = True,
) -> Adversarial:
    """Adversarial training, each batch with one random source among the model and static ones.

        source ~ U{model in training, static models},  drawn anew for each batch
        half of the batch is replaced by examples made on that source

    All attacks meet their source's predicted class in place of the label, whatever their goal was,
    so that no label can leak (C.2).

        fgsm = FGSM(Linf(0.3))
        EnsembleAdversarial(fgsm, [On(a, fgsm, name="a"), On(b, fgsm, name="b")])

    When:
        Against transfer from models that the attacker has and you have not.

    When not:
        Against an attacker who has the model: network A so trained falls to many steps altogether
        (docs/results/ensemble-adversarial-training/network-a.md).

    Traps:
        The sources of the evaluation must be other networks than ``sources``, or black box is no
        black box. Replacing half of the batch (EAT 4.2) and averaging two losses (EAT's code for
        MNIST) give other networks, as do the dropout of the sources and the initial weights.

    Args:
        attack: on the model in training; a single step in the paper, FGSM on MNIST and Step-LL on
            ImageNet.
        static: attacks on pre-trained sources: `On`, or `CachedFGSM` with gradients computed once.
        weight: of the adversarial examples, by their number or in the loss.
        replace: see `Adversarial`; the paper replaces half of the batch (4.2), its code for MNIST
            averages the losses of a clean and an adversarial batch, ``replace=False``.
        attack_in_eval: of the model in training, see `Adversarial`; static sources are run in
            evaluation mode, but for the dropout of `On` with ``dropout=True``. The paper's code for
            MNIST lets all of them draw.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, sections 3.4 and 4.2.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM, On
        >>> from holdfast.random import Stream
        >>> from holdfast.training import EnsembleAdversarial
        >>> static, fgsm = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval(), FGSM(Linf(0.3))
        >>> objective = EnsembleAdversarial(fgsm, [On(static, fgsm, name="static")])
        >>> loss, terms = objective(model, x, y, Stream.of(0, torch.arange(4)))
        >>> bool(loss > 0)
        True
    """
    sources = tuple(against_prediction(each) for each in (attack, *static))
    return Adversarial(
        attack=OneAtRandom(attacks=sources),
        weight=weight,
        replace=replace,
        attack_in_eval=attack_in_eval,
    )
