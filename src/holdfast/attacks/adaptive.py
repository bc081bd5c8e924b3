"""Adaptive attacks: the variants of an attack that a model's own declarations call for.

A defence is only as good as the best attack on it that knows of it. What a model declares (see
`holdfast.declarations`) says which variants that takes: averages over its randomness (EOT), another
backward pass through what is not differentiable or cleans the image (BPDA), and a penalty that
keeps to images which the cleaning leaves alone (R).
"""

import math
import re
from collections.abc import Collection
from dataclasses import replace

from holdfast.attacks.bpda import BPDA
from holdfast.attacks.engine.attack import Attack, follows_gradients
from holdfast.attacks.engine.compose import Worst
from holdfast.attacks.engine.transfer import On
from holdfast.attacks.eot import against_randomness
from holdfast.attacks.regularized import regularize
from holdfast.declarations import is_stochastic, non_differentiable, purifiers, reconstruction_of
from holdfast.errors import InputError, unknown
from holdfast.goals import reconstruction_error
from holdfast.types import Model

__all__ = ["VARIANTS", "adapted", "adaptive", "variants_of"]

#: What `adaptive` calls its variants; those for the second purifier and further ones are r-2, ...
VARIANTS = ("plain", "bpda", "bpda-eot", "r")

#: Draws of BPDAwEOT, at which MALADE's authors found it to converge (appendix B.1.2, figure 6b).
EOT_DRAWS = 30

#: Draws by which a cascade judges whether an image is broken, at least: also where the model
#: answers by a single one.
DECIDING_VOTES = 30


def adaptive(
    attack: Attack,
    model: Model,
    *,
    samples: int = 10,
    votes: int = 100,
    weight: float = 1.0,
    stochastic: bool | None = None,
) -> dict[str, Attack]:
    """Every variant of an attack that a model calls for, by name.

    ``plain`` is the attack itself, unless a layer is not differentiable. ``bpda`` is there when a
    layer is not differentiable or purifies. ``r`` is there when a layer purifies, and ``r-2`` and
    so on for further ones, if the attack ascends a goal: its goal minus the reconstruction error of
    the purifier, which is taken to stand first in the model, where images are images. An attack
    that follows no gradients is ``plain`` whatever the layers.

    On a stochastic model gradients are averages over draws of its randomness (EOT), and so are the
    answers that an attack without gradients goes by. This is so also of the gradients of
    ``plain``, which go through all layers: of a purifier that is a chain, full backpropagation
    through it. ``bpda`` then takes one draw at each step, which costs little, and so comes first,
    and ``bpda-eot`` beside it `EOT_DRAWS` at least.

    Args:
        attack: any attack; one that is crafted `On` another model has no variants.
        model: the target.
        samples: draws for a gradient on a stochastic model.
        votes: draws by which a cascade judges on a stochastic model, but `DECIDING_VOTES` at least:
            an image that one part fools by luck is left to the others.
        weight: λ of the reconstruction error.
        stochastic: whether the model draws random numbers; what its layers declare by default.

    Returns:
        At least one attack; each is to be run on the model itself.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD, adaptive
        >>> from holdfast.defenses import Binarise
        >>> defended = nn.Sequential(Binarise(), model)  # no gradient passes, and it cleans images
        >>> list(adaptive(PGD(Linf(0.3)), model)), list(adaptive(PGD(Linf(0.3)), defended))
        (['plain'], ['bpda'])
    """
    if isinstance(attack, On):
        return {"plain": attack}
    blocked, cleaning = non_differentiable(model), purifiers(model)
    if not follows_gradients(attack):  # what the layers do to a gradient is nothing to it
        blocked, cleaning = [], []
    variants: dict[str, Attack] = {}
    if not blocked:
        variants["plain"] = attack
    if blocked or cleaning:
        variants["bpda"] = BPDA(attack)
    for number, layer in enumerate(cleaning, start=1):
        r = reconstruction_of(layer)
        regularized = regularize(attack, weight, reconstruction_error(r))
        # Behind the identity's gradient, the error of the layer itself has gradient 0.
        if regularized != attack and not (blocked and r is layer):
            name = "r" if number == 1 else f"r-{number}"
            variants[name] = BPDA(regularized) if blocked else regularized
    if not (is_stochastic(model) if stochastic is None else stochastic):
        return variants
    if "bpda" in variants:
        bpda = variants["bpda"]
        variants = {"bpda": bpda, "bpda-eot": bpda, **variants}
    draws = {"bpda": 1, "bpda-eot": max(samples, EOT_DRAWS)}
    return {
        name: against_randomness(variant, draws.get(name, samples), max(votes, DECIDING_VOTES))
        for name, variant in variants.items()
    }


def chosen(variants: dict[str, Attack], only: Collection[str]) -> dict[str, Attack]:
    """Those of an attack's variants that are named in ``only``; all if it is empty.

    An attack with a single variant, such as one without gradients, keeps it whatever its name.

    Raises:
        InputError: if it has several, and none of them is named.
        UnknownNameError: if no attack has a variant of such a name.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import BPDA, PGD
        >>> from holdfast.attacks.adaptive import chosen
        >>> variants = {"plain": PGD(Linf(0.3)), "bpda": BPDA(PGD(Linf(0.3)))}
        >>> list(chosen(variants, ["bpda"]))
        ['bpda']
    """
    for name in only:
        if not (name in VARIANTS or re.fullmatch(r"r-\d+", name)):
            raise unknown("variant", name, VARIANTS)
    kept = {name: variant for name, variant in variants.items() if name in only}
    if only and not kept and len(variants) > 1:
        raise InputError(
            f"of the variants {', '.join(only)} the model calls for none; choose among "
            f"{', '.join(variants)}."
        )
    return kept or variants


def variants_of(
    attack: Attack,
    model: Model,
    *,
    samples: int = 10,
    votes: int = 100,
    stochastic: bool | None = None,
    only: Collection[str] = (),
) -> dict[str, Attack]:
    """As `adaptive`, of every part of a cascade: "apgd-t, bpda". What is plain has its own name.

    With ``only``, no other variants than these (`chosen`).

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import APGD, Square, Worst, variants_of
        >>> from holdfast.defenses import Binarise
        >>> cascade = Worst((APGD(Linf(0.3)), Square(Linf(0.3))), called=("apgd", "square"))
        >>> list(variants_of(cascade, nn.Sequential(Binarise(), model)))
        ['apgd, bpda', 'square']
    """
    parts = [("", attack)]
    if isinstance(attack, Worst):
        parts = list(zip(attack.names, attack.attacks, strict=True))
    return {
        ", ".join(filter(None, (name, "" if variant == "plain" else variant))): made
        for name, part in parts
        for variant, made in chosen(
            adaptive(part, model, samples=samples, votes=votes, stochastic=stochastic), only
        ).items()
    }


def adapted(
    attack: Attack,
    model: Model,
    *,
    samples: int = 10,
    votes: int = 100,
    stochastic: bool | None = None,
    only: Collection[str] = (),
) -> Attack:
    """The attack as it must be run on a model: with every variant that the model calls for.

    On a model that declares nothing it stays as it is. Otherwise it becomes the worst case over its
    variants (`adaptive`), and a cascade becomes one of the variants of all its parts. An attack
    that looks for the smallest perturbation without a limit has no worst case; it becomes its last
    variant, the one that knows most of the model.

    Args:
        attack: any attack.
        model: the target.
        samples: draws for a gradient on a stochastic model.
        votes: draws by which a cascade judges on a stochastic model, but `DECIDING_VOTES` at least.
        stochastic: whether the model draws random numbers; what its layers declare by default.
        only: no other variants than these (`chosen`); all by default.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD, adapted
        >>> from holdfast.defenses import GaussianNoise
        >>> noisy = nn.Sequential(GaussianNoise(0.1), model)
        >>> adapted(PGD(Linf(0.3)), noisy, samples=20).gradient
        Average(samples=20, noise=0.0, memory=None)
    """
    if stochastic is None:
        stochastic = is_stochastic(model)
    draws = {"samples": samples, "votes": votes}
    variants = variants_of(attack, model, **draws, stochastic=stochastic, only=only)
    cascade = attack if isinstance(attack, Worst) else None
    if cascade is None and (len(variants) == 1 or math.isinf(attack.threat.eps)):
        return list(variants.values())[-1]
    worst = cascade or Worst(tuple(variants.values()))
    return replace(
        worst,
        attacks=tuple(variants.values()),
        called=tuple(name or "plain" for name in variants),
        votes=max(votes, DECIDING_VOTES) if stochastic else worst.votes,
    )
