"""Transfer: a network that shows its gradients in the place of one that hides them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from holdfast.attacks import Attack, On, SparseRS, Square, Worst
from holdfast.attacks.adaptive import Variant
from holdfast.attacks.engine.attack import follows_gradients
from holdfast.evaluation.hidden.asking import answer, nearby
from holdfast.evaluation.hidden.imitate import imitate
from holdfast.parameters import Seed
from holdfast.random import Stream
from holdfast.types import Images, Model

__all__ = ["Twin", "distilled"]

#: Pairs that a twin is distilled from, and how far beside the images they are taken.
_PAIRS = 4096
_BESIDE = (0.0, 0.03, 0.1, 0.2)

#: How many more queries a random search gets where it alone sees, and how many at least in a suite
#: whose budget left it few: AutoAttack's.
_LONGER, _FULL = 4, 5000


@dataclass(frozen=True, eq=False)
class Twin:
    """A model whose gradients are used on another one.

    Attributes:
        model: shows its gradients.
        name: for the record.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.evaluation.hidden.twin import Twin
        >>> [one.title for one in Twin(model, "base").variants(PGD(Linf(0.3)))]
        ['transfer']
    """

    model: Model
    name: str

    def variants(self, attack: Attack) -> list[Variant]:
        """Every part of an attack that follows gradients, crafted on the twin."""
        return [
            Variant(part, "transfer", On(self.model, one, name=self.name))
            for part, one in _parts(attack)
            if follows_gradients(one) and not isinstance(one, On)
        ]


def distilled(model: Model, x: Images, *, seed: Seed) -> Twin:
    """A small network fitted to a model's answers on images at hand, and beside them.

    Args:
        model: is asked about some thousand images.
        x: (N, C, H, W) on its device.
        seed: of what lies beside, and of the twin's weights.

    Example:
        >>> from holdfast.evaluation.hidden.twin import distilled
        >>> twin = distilled(model, x, seed=0)
        >>> bool((twin.model(x).argmax(dim=1) == model(x).argmax(dim=1)).all())
        True
    """
    rng = Stream.of(seed, torch.arange(len(x), device=x.device)).fold("twin")
    rounds = -(-_PAIRS // len(x))
    given = [nearby(x, rng.fold(i), _BESIDE[i % len(_BESIDE)]) for i in range(rounds)]
    answers = [answer(model, images, seed=seed + i).float() for i, images in enumerate(given)]
    centred = torch.cat([logits - logits.mean(dim=1, keepdim=True) for logits in answers])
    student = imitate(torch.cat(given), centred, seed=seed)
    return Twin(nn.Sequential(student).eval(), "a distilled twin")


def longer(attack: Attack) -> list[Variant]:
    """Square, in ℓ0 Sparse-RS, with more queries, for where it alone sees.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import WorstCase
        >>> from holdfast.evaluation.hidden.twin import longer
        >>> [one.attack.queries for one in longer(WorstCase(Linf(0.3), budget=900))]
        [5000]
    """
    fitted = isinstance(attack, Worst) and attack.budget is not None
    least = _FULL if fitted else 0
    return [
        Variant(part, "longer", replace(one, queries=max(_LONGER * one.queries, least)))
        for part, one in _parts(attack)
        if isinstance(one, Square | SparseRS)
    ]


def _parts(attack: Attack) -> Sequence[tuple[str, Attack]]:
    if isinstance(attack, Worst):
        return list(zip(attack.names, attack.attacks, strict=True))
    return [("", attack)]
