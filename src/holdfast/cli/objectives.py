"""Objectives with what the command line can write: numbers, names and paths.

A parameter ``threat`` stands for norm and eps. ``data`` and ``device`` are those of the training,
and no one writes them. What the class that is made does not say of a parameter stands under Adds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from holdfast import goals
from holdfast.attacks import FGSM, PGD, RFGSM, Attack, On
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.goals import Divergence
from holdfast.losses import kl_divergence
from holdfast.models import loading
from holdfast.threat import Linf
from holdfast.training import (
    TRADES,
    Adversarial,
    AtRandomSize,
    CachedFGSM,
    DeepDefense,
    Distillation,
    EnsembleAdversarial,
    Frozen,
    GradientCache,
    LogitPairing,
    OneByOne,
    Standard,
    SupervisedDenoising,
    Total,
    adversarial_training_1,
    against_prediction,
    equal_classes,
)
from holdfast.training.objectives.names import OBJECTIVES
from holdfast.training.randomized import SizeDistribution
from holdfast.types import Goal, Model, Objective, Threat


@OBJECTIVES.named("fgsm")
def fgsm(
    threat: Threat,
    *,
    weight: float = 0.5,
    replace: bool = False,
    goal: Goal = goals.cross_entropy,
    draw: SizeDistribution | None = None,
    draw_each: bool = False,
    attack_in_eval: bool = True,
) -> Adversarial:
    """Half clean, half FGSM examples against the predicted class (EAT C.2).

        (CE(f(x), y) + CE(f(x_adv), y)) / 2,  x_adv = x + ε · sign ∇L(x, argmax f(x))

    When:
        To reproduce single-step training, and to study masking.

    When not:
        For robustness: PGD. Alone it teaches a network to mask its gradient.

    Traps:
        Judge it by `PGD` and transfer, never by FGSM. Batch size, initial weights and replacing
        half of the batch each move its errors by 10 to 25 points on MNIST.

    Adds:
        threat: the ball of size ε, from --norm and --eps.
        goal: what the attack ascends.
        draw: the law of a random ε, redrawn for each batch; ε as it is by default.
        draw_each: draw it for each image instead.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, appendix C.2.
    """
    attack = against_prediction(_sized(FGSM(threat, goal=goal), draw, draw_each))
    return Adversarial(attack=attack, weight=weight, replace=replace, attack_in_eval=attack_in_eval)


@OBJECTIVES.named("r+fgsm")
def r_fgsm(
    threat: Threat,
    *,
    alpha: float | None = None,
    weight: float = 1.0,
    replace: bool = False,
    goal: Goal = goals.cross_entropy,
    draw: SizeDistribution | None = None,
    draw_each: bool = False,
    attack_in_eval: bool = True,
) -> Adversarial:
    """R+FGSM examples only, against the predicted class (EAT 4.1).

        CE(f(x_adv), y),  x_adv by `RFGSM` against argmax f(x)

    When:
        To reproduce EAT 4.1, and to study masking.

    When not:
        For robustness: PGD.

    Traps:
        Judge it by many steps: of PGD's 20 it bears few (EAT 4.1). α is ε/2 in the text, 0.05 of ε
        = 0.3 in the code.

    Adds:
        threat: the ball of size ε, from --norm and --eps.
        alpha: length of the random step; ε/2 by default.
        goal: what the attack ascends.
        draw: the law of a random ε, redrawn for each batch; ε as it is by default.
        draw_each: draw it for each image instead.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, section 4.1.
    """
    attack = against_prediction(_sized(RFGSM(threat, alpha=alpha, goal=goal), draw, draw_each))
    return Adversarial(attack=attack, weight=weight, replace=replace, attack_in_eval=attack_in_eval)


@OBJECTIVES.named("pgd")
def pgd(
    threat: Threat,
    *,
    steps: int = 10,
    step_size: float | None = None,
    weight: float = 1.0,
    replace: bool = False,
    draw: SizeDistribution | None = None,
    draw_each: bool = False,
    attack_in_eval: bool = True,
) -> Adversarial:
    """PGD examples only (Madry et al. 2018).

        CE(f(x_adv), y),  x_adv by PGD in the ball, without early stopping

    When:
        As the baseline that holds in the ball that it was trained in.

    When not:
        For another norm, in which it does not hold; where clean accuracy may not fall.

    Traps:
        It overfits to its attack: keep the best epoch on held-out images. Too large a rate kills
        filters, and few live ones mislead attacks (`holdfast.diagnose.live_filters`).

    Adds:
        threat: the ball of size ε, from --norm and --eps.
        steps: of the attack.
        step_size: of the attack, α; 2.5 · ε / steps by default.
        draw: the law of a random ε, redrawn for each batch; ε as it is by default.
        draw_each: draw it for each image instead.

    Reference:
        Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.
    """
    attack = _sized(
        PGD(threat, steps=steps, step_size=step_size, early_stop=False), draw, draw_each
    )
    return Adversarial(attack=attack, weight=weight, replace=replace, attack_in_eval=attack_in_eval)


@OBJECTIVES.named("ensemble")
def ensemble(
    threat: Threat,
    *,
    sources: str | Sequence[str],
    cache: str | None = None,
    weight: float = 0.5,
    replace: bool = True,
    goal: Goal = goals.cross_entropy,
    draw: SizeDistribution | None = None,
    draw_each: bool = False,
    attack_in_eval: bool = True,
    sources_dropout: bool = False,
    data: Data,
    device: torch.device,
) -> Adversarial:
    """Half single-step examples from the model or a trained one, sources=['run', ...] (EAT 3.4).

    Adds:
        threat: the ball of size ε, from --norm and --eps.
        sources: folders of trained networks, at least one.
        cache: folder of the sources' gradients, computed once; computed for each batch by default.
        goal: what the attack ascends.
        draw: the law of a random ε, redrawn for each batch; ε as it is by default.
        draw_each: draw it for each image instead.
        sources_dropout: let the sources draw their dropout, as EAT's code for MNIST does.
    """
    single = _sized(FGSM(threat, goal=goal), draw, draw_each)
    static: list[Attack] = []
    if sources_dropout and cache is not None:
        raise InputError(
            "sources_dropout draws anew for each batch, but a cache keeps one gradient of each "
            "image; leave out one of them."
        )
    for name in _names(sources):
        model = _load(name, device)
        if cache is None:
            static.append(On(model, single, name=name, dropout=sources_dropout))
        else:
            gradients = GradientCache(model, data, Path(cache), name=name, goal=goal)
            static.append(_sized(CachedFGSM(threat=threat, cache=gradients), draw, draw_each))
    return EnsembleAdversarial(
        single, static, weight=weight, replace=replace, attack_in_eval=attack_in_eval
    )


@OBJECTIVES.named("trades")
def trades(
    threat: Threat,
    *,
    steps: int = 10,
    step_size: float | None = None,
    beta: float = 6.0,
    divergence: Divergence = kl_divergence,
    attack_in_eval: bool = True,
) -> TRADES:
    """Clean images, and answers that stay alike within the ball (Zhang et al. 2019)."""
    return TRADES(
        threat=threat,
        steps=steps,
        step_size=step_size,
        beta=beta,
        divergence=divergence,
        attack_in_eval=attack_in_eval,
    )


@OBJECTIVES.named("alp")
def alp(
    threat: Threat,
    *,
    steps: int = 10,
    step_size: float | None = None,
    weight: float = 0.5,
    attack_in_eval: bool = True,
) -> LogitPairing:
    """Adversarial logit pairing: clean and PGD examples with alike logits (Kannan et al. 2018).

    Adds:
        threat: the ball of size ε, from --norm and --eps.
        steps: of the attack.
        step_size: of the attack, α; 2.5 · ε / steps by default.
    """
    attack = PGD(threat, steps=steps, step_size=step_size, early_stop=False)
    return LogitPairing(attack=attack, weight=weight, attack_in_eval=attack_in_eval)


@OBJECTIVES.named("deep-defense")
def deep_defense(
    *,
    weight: float = 15.0,
    c: float = 25.0,
    d: float = 5.0,
    p: float = 2.0,
    steps: int = 5,
    layer: str | None = None,
    adv_train_2: float | None = None,
) -> DeepDefense:
    """DeepFool's perturbation in the loss (DD eq. 3); adv_train_2 is the ε of FGS in it.

    Adds:
        adv_train_2: ε of FGS in the classification loss (DD supplement 2); none by default.
    """
    base: Objective = Standard()
    if adv_train_2 is not None:  # DD supplement 2
        base = Total((base, Adversarial(attack=FGSM(Linf(adv_train_2)), weight=1.0)))
    return DeepDefense(weight=weight, c=c, d=d, p=p, steps=steps, layer=layer, base=base)


@OBJECTIVES.named("adv-train-1")
def adv_train_1(
    *,
    reference: str,
    cache: str | None = None,
    weight: float = 1.0,
    data: Data,
    device: torch.device,
) -> Adversarial:
    """DeepFool examples made once on a trained network, reference='run' (DD 4).

    Adds:
        reference: folder of the trained network that the examples are made on.
        cache: folder for what is computed once and taken up again; in memory by default.
    """
    out = None if cache is None else Path(cache)
    return adversarial_training_1(_load(reference, device), data, weight=weight, out=out)


@OBJECTIVES.named("sdae")
def sdae(
    *,
    sigma: float,
    classifier: str,
    weight: float | Literal["mean"] = 1.0,
    balanced: bool = False,
    data: Data,
    device: torch.device,
) -> SupervisedDenoising:
    """Autoencoder that removes noise and keeps the class, classifier='run' (MALADE eq. 11).

    Adds:
        balanced: count images so that all classes weigh the same (after theorem 1).
    """
    return SupervisedDenoising(
        sigma=sigma,
        classifier=_frozen(classifier, device),
        weight=weight,
        class_weights=equal_classes(data.y) if balanced else None,
    )


@OBJECTIVES.named("distillation")
def distillation(
    *, teacher: str, temperature: float = 1.0, weight: float = 1.0, device: torch.device
) -> Distillation:
    """Softened answers of a trained network, teacher='run' (Hinton et al. 2015)."""
    return Distillation(teacher=_frozen(teacher, device), temperature=temperature, weight=weight)


def _sized(attack: Attack, draw: SizeDistribution | None, draw_each: bool) -> Attack:
    if draw is None:
        if draw_each:
            raise InputError(
                "draw_each=True is about a random eps, and there is none: give the distribution "
                "too, draw=half_normal, or leave it out."
            )
        return attack
    sized = AtRandomSize(attack=attack, distribution=draw)
    return OneByOne(attack=sized) if draw_each else sized


def _names(sources: str | Sequence[str]) -> list[str]:
    names = [sources] if isinstance(sources, str) else list(sources)
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"sources is {sources!r}, but must name trained networks, sources=['runs/a', 'runs/b']."
        )
    return names


def _load(name: str, device: torch.device) -> Model:
    return loading.load(str(name)).eval().to(device)


def _frozen(name: str, device: torch.device) -> Frozen:
    return Frozen(_load(name, device), str(name))
