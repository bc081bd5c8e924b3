"""Holdfast's attacks as AttackBench calls them: (model, inputs, labels, targets, targeted) -> adv.

Nothing needs to be installed for it. AttackBench compares perturbations of the least size, so the
attacks to give it are those without a limit: `for_attackbench(FMN(L2(inf)))`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.attacks import Attack
from holdfast.bridges.aims import toward_classes
from holdfast.errors import InputError
from holdfast.parameters import Seed

__all__ = ["for_attackbench"]


def for_attackbench(attack: Attack, *, seed: Seed = 0) -> "BenchedAttack":
    """One of Holdfast's attacks with the arguments that AttackBench gives.

    Args:
        attack: any.
        seed: of all randomness.

    Example:
        >>> from math import inf
        >>> from holdfast import L2
        >>> from holdfast.attacks import DDN
        >>> from holdfast.bridges.attackbench import for_attackbench
        >>> attack = for_attackbench(DDN(L2(inf), steps=20))
        >>> adv = attack(model=model, inputs=x, labels=y, targets=None, targeted=False)
        >>> bool((model(adv).argmax(dim=1) != y).all())
        True
    """
    return BenchedAttack(attack, seed)


@dataclass(frozen=True)
class BenchedAttack:
    """See `for_attackbench`."""

    attack: Attack
    seed: Seed = 0

    def __call__(
        self,
        model: nn.Module,
        inputs: Tensor,
        labels: Tensor,
        targets: Tensor | None = None,
        targeted: bool = False,
    ) -> Tensor:
        """Adversarial images.

        Args:
            model: images in [0, 1] to logits.
            inputs: (N, C, H, W).
            labels: (N,) true classes.
            targets: (N,) classes to be taken for.
            targeted: whether that is asked for.

        Raises:
            InputError: if it is and there are no targets.
        """
        if targeted and targets is None:
            raise InputError("targeted is True, but targets are missing; give a class an image.")
        attack = self.attack
        if targeted:
            attack = toward_classes(attack, torch.as_tensor(targets))
        return attack(model, inputs, labels, seed=self.seed)
