"""Adaptive attacks: the variants of an attack that a model's own declarations call for.

A defence is only as good as the best attack on it that knows of it. What a model declares (see
`holdfast.declarations`) says which variants that takes: averages over its randomness (EOT), another
backward pass through what is not differentiable or cleans the image (BPDA), and a penalty that
keeps to images which the cleaning leaves alone (R).
"""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from holdfast.attacks.bpda import BPDA, Bridge
from holdfast.attacks.engine.aimed import aimed_at
from holdfast.attacks.engine.attack import Attack, follows_gradients
from holdfast.attacks.engine.compose import Worst
from holdfast.attacks.engine.transfer import On
from holdfast.attacks.eot import against_randomness
from holdfast.attacks.regularized import regularize
from holdfast.declarations import is_stochastic, non_differentiable, purifiers, reconstruction_of
from holdfast.errors import InputError, unknown
from holdfast.goals import TopMargin, margin, reconstruction_error
from holdfast.types import Model

__all__ = ["VARIANTS", "Variant", "adapted", "adaptive", "chosen", "combined", "variants_of"]

#: What `adaptive` calls its variants; those for the second purifier are r-2-bpda and r-2, ...
VARIANTS = ("plain", "bpda", "bpda-eot", "r-bpda", "r")

#: R, with the number of a purifier and a weight of its error: "r-2(0.1)", "r-2-bpda(0.1)".
_R = re.compile(r"(?P<name>r(-\d+)?(-bpda)?)(\(.+\))?")

#: Draws of BPDAwEOT, at which MALADE's authors found it to converge (appendix B.1.2, figure 6b).
EOT_DRAWS = 30

#: Draws by which a cascade decides whether an image is broken, at least: also where the model
#: answers by a single one.
DECIDING_VOTES = 30


def adaptive(
    attack: Attack,
    model: Model,
    *,
    samples: int = 10,
    votes: int = 100,
    weights: Sequence[float] = (1.0,),
    stochastic: bool | None = None,
    around: tuple[Bridge, ...] = (),
) -> dict[str, Attack]:
    """Every variant of an attack that a model calls for, by name.

    ``plain`` is the attack itself, unless a layer is not differentiable. ``bpda`` is there when a
    layer is not differentiable or purifies. ``r`` is there when a layer purifies, and ``r-2`` and
    so on for further ones, if the attack ascends a goal: its goal minus the reconstruction error of
    the purifier, which is taken to stand first in the model, where images are images. An attack
    that follows no gradients is ``plain`` whatever the layers. ``r-bpda`` stands before each r that
    goes through the layers: the same goal around them, so that a chain whose gradient blinds R is
    met too; the error keeps its own gradient. Where r goes around them already it is that, and
    where the error is the layer's own there is none left behind the identity's.

    On a stochastic model gradients are averages over draws of its randomness (EOT), and so are the
    answers that an attack without gradients goes by. This is so also of the gradients of
    ``plain``, which go through all layers: of a purifier that is a chain, full backpropagation
    through it. ``bpda`` then takes one draw at each step, which costs little, and so comes first,
    and ``bpda-eot`` beside it `EOT_DRAWS` at least.

    Args:
        attack: any attack; one that is crafted `On` another model has no variants.
        model: the target.
        samples: draws for a gradient on a stochastic model.
        votes: a cascade's draws of a stochastic model to decide by, but `DECIDING_VOTES` at least:
            an image that one part fools by luck is left to the others.
        weights: λ of the reconstruction error, at least one, none negative. With several every r
            and r-bpda has a variant for each, ``r(0.1)`` and so on: which is strongest hangs on the
            purifier.
        stochastic: whether the model draws random numbers; what its layers declare by default.
        around: layers that hide their gradient without a declaration. They call for ``bpda`` too,
            beside ``plain``: who accuses an honest layer must not make the model look stronger.

    Returns:
        At least one attack; each is to be run on the model itself.

    Raises:
        InputError: if there is no weight, one twice, or a negative one.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD, adaptive
        >>> from holdfast.defenses import Binarise
        >>> defended = nn.Sequential(Binarise(), model)  # no gradient passes, and it cleans images
        >>> list(adaptive(PGD(Linf(0.3)), model)), list(adaptive(PGD(Linf(0.3)), defended))
        (['plain'], ['bpda'])

        A chain with noise calls for all of them:

        >>> from holdfast.defenses import MALADE
        >>> chain = MALADE(nn.Conv2d(1, 1, 3, padding=1), steps=2, alpha=0.1, delta=0.1, sigma=0.4)
        >>> around_and_kept = adaptive(PGD(Linf(0.3), steps=2), nn.Sequential(chain, model))
        >>> list(around_and_kept)
        ['bpda', 'bpda-eot', 'plain', 'r-bpda', 'r']
        >>> x_adv = around_and_kept["r-bpda"](nn.Sequential(chain, model).eval(), x, y, seed=0)
    """
    if not weights or len(set(weights)) < len(weights) or not all(w >= 0 for w in weights):
        raise InputError(
            f"the weights are {tuple(weights)}, but R takes at least one, none of them negative or "
            "given twice."
        )
    if isinstance(attack, On):
        return {"plain": attack}
    blocked, cleaning = non_differentiable(model), purifiers(model)
    if not follows_gradients(attack):  # what the layers do to a gradient is nothing to it
        blocked, cleaning, around = [], [], ()
    variants: dict[str, Attack] = {}
    if not blocked:
        variants["plain"] = attack
    if blocked or cleaning or around:
        variants["bpda"] = BPDA(attack, around=around)
    for number, layer in enumerate(cleaning, start=1):
        r = reconstruction_of(layer)
        name = "r" if number == 1 else f"r-{number}"
        for weight in weights:
            regularized = regularize(attack, weight, reconstruction_error(r))
            if regularized == attack:  # it ascends no goal
                continue
            of_weight = "" if len(weights) == 1 else f"({weight})"
            bypass = BPDA(regularized, around=around)
            # Behind the identity's gradient, the error of the layer itself has gradient 0.
            if blocked or around:
                if not (blocked and r is layer):
                    variants[f"{name}{of_weight}"] = bypass
                continue
            if r is not layer:
                variants[f"{name}-bpda{of_weight}"] = bypass
            variants[f"{name}{of_weight}"] = regularized
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


class Variant(NamedTuple):
    """One way to run an attack, or a part of a cascade, on a model.

    Attributes:
        part: of the cascade; "" for an attack that is none.
        name: as `adaptive` calls it.
        attack: to be run on the model itself.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.attacks.adaptive import Variant
        >>> Variant("apgd", "bpda", PGD(Linf(0.3))).title
        'apgd, bpda'
    """

    part: str
    name: str
    attack: Attack

    @property
    def title(self) -> str:
        """As reports name it: "bpda", or "apgd-t, bpda"; what is plain by its part's own name."""
        if not self.part:
            return self.name
        return self.part if self.name == "plain" else f"{self.part}, {self.name}"


def variants_of(
    attack: Attack,
    model: Model,
    *,
    samples: int = 10,
    votes: int = 100,
    weights: Sequence[float] = (1.0,),
    stochastic: bool | None = None,
    around: tuple[Bridge, ...] = (),
) -> list[Variant]:
    """Every variant that a model calls for (`adaptive`), of every part of a cascade.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import APGD, Square, Worst, variants_of
        >>> from holdfast.defenses import Binarise
        >>> cascade = Worst((APGD(Linf(0.3)), Square(Linf(0.3))), called=("apgd", "square"))
        >>> [variant.title for variant in variants_of(cascade, nn.Sequential(Binarise(), model))]
        ['apgd, bpda', 'square']
    """
    parts = [("", attack)]
    if isinstance(attack, Worst):
        parts = list(zip(attack.names, attack.attacks, strict=True))
    return [
        Variant(part, name, made)
        for part, one in parts
        for name, made in adaptive(
            one,
            model,
            samples=samples,
            votes=votes,
            weights=weights,
            stochastic=stochastic,
            around=around,
        ).items()
    ]


def chosen(variants: Sequence[Variant], only: Collection[str]) -> list[Variant]:
    """Those of an attack's variants that are named in ``only``; all if it is empty.

    "r" names R at every weight that it runs at, "r(0.1)" at one, and so with "r-bpda". An attack
    with a single variant, such as one without gradients, keeps it whatever its name, and so does a
    part of a cascade.

    Raises:
        InputError: if it has several, and none of them is named.
        UnknownNameError: if no attack has a variant of such a name.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import BPDA, PGD
        >>> from holdfast.attacks.adaptive import Variant, chosen
        >>> pgd = PGD(Linf(0.3))
        >>> variants = [Variant("", "plain", pgd), Variant("", "bpda", BPDA(pgd))]
        >>> [variant.title for variant in chosen(variants, ["bpda"])]
        ['bpda']
    """
    for name in only:
        if not (name in VARIANTS or _R.fullmatch(name)):
            raise unknown("variant", name, VARIANTS)
    wanted = set(only)
    found: list[Variant] = []
    for part in dict.fromkeys(variant.part for variant in variants):
        mine = [variant for variant in variants if variant.part == part]
        kept = [
            variant for variant in mine if {variant.name, _without_weight(variant.name)} & wanted
        ]
        if only and not kept and len(mine) > 1:
            raise InputError(
                f"of the variants {', '.join(only)} the model calls for none; choose among "
                f"{', '.join(variant.name for variant in mine)}."
            )
        found += kept or mine
    return found


def _without_weight(name: str) -> str:
    """The name of a variant of R without its weight; any other as it is."""
    found = _R.fullmatch(name)
    return found["name"] if found else name


def combined(
    attack: Attack, variants: Sequence[Variant], *, votes: int = 100, stochastic: bool
) -> Attack:
    """One attack of the variants of ``attack``: their worst case, and a cascade if it was one.

    An attack that looks for the smallest perturbation without a limit has no worst case; it becomes
    its last variant, the one that knows most of the model.

    Args:
        attack: that they are of.
        variants: at least one.
        votes: a cascade's draws of a stochastic model to decide by, but `DECIDING_VOTES` at least.
        stochastic: whether the model draws random numbers.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import BPDA, PGD
        >>> from holdfast.attacks.adaptive import Variant, combined
        >>> pgd = PGD(Linf(0.3))
        >>> variants = [Variant("", "plain", pgd), Variant("", "bpda", BPDA(pgd))]
        >>> combined(pgd, variants, stochastic=False).names
        ('plain', 'bpda')
    """
    cascade = attack if isinstance(attack, Worst) else None
    if cascade is None and (len(variants) == 1 or math.isinf(attack.threat.eps)):
        return variants[-1].attack
    attacks = tuple(variant.attack for variant in variants)
    top = aimed_at(attack)
    worst = cascade or Worst(attacks, aim=margin if top == 1 else TopMargin(top))
    return replace(
        worst,
        attacks=attacks,
        called=tuple(variant.title for variant in variants),
        near=worst.near if attacks == worst.attacks else (),
        votes=max(votes, DECIDING_VOTES) if stochastic else worst.votes,
    )


def adapted(
    attack: Attack,
    model: Model,
    *,
    samples: int = 10,
    votes: int = 100,
    weights: Sequence[float] = (1.0,),
    stochastic: bool | None = None,
    only: Collection[str] = (),
    around: tuple[Bridge, ...] = (),
) -> Attack:
    """The attack as it must be run on a model: with every variant that the model calls for.

    On a model that declares nothing it stays as it is. Otherwise it becomes the worst case over its
    variants (`adaptive`), and a cascade becomes one of the variants of all its parts (`combined`).

    Args:
        attack: any attack.
        model: the target.
        samples: draws for a gradient on a stochastic model.
        votes: a cascade's draws of a stochastic model to decide by, but `DECIDING_VOTES` at least.
        weights: of the reconstruction error in R; see `adaptive`.
        stochastic: whether the model draws random numbers; what its layers declare by default.
        only: no other variants than these (`chosen`); all by default.
        around: layers that hide their gradient without a declaration (`adaptive`).

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
    variants = variants_of(
        attack,
        model,
        samples=samples,
        votes=votes,
        weights=weights,
        stochastic=stochastic,
        around=around,
    )
    return combined(attack, chosen(variants, only), votes=votes, stochastic=stochastic)
