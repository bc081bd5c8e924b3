"""Holdfast's attacks as Foolbox's: ``to_foolbox(PGD(Linf(8 / 255)))(fmodel, x, y, epsilons=...)``.

What is called with epsilons there is one attack in balls of those sizes here. An attack that looks
for the smallest perturbation is one of Foolbox's minimization attacks, any other one with a fixed
epsilon. A `foolbox.PyTorchModel` shows its answers alone, so that nothing is known of what a
network declares: attack stochastic and purifying ones by `holdfast.evaluate`.
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Any

from torch import Tensor, nn

from holdfast.attacks import Attack
from holdfast.bridges.aims import nothing_more, toward_classes, within
from holdfast.bridges.box import Box, Rescaled
from holdfast.checks import warn_if_training
from holdfast.errors import InputError, kind_of
from holdfast.imports import needed
from holdfast.parameters import Seed
from holdfast.random import hash_seed
from holdfast.tensors import eval_mode

with needed("foolbox", "holdfast.bridges.foolbox"):
    import eagerpy as ep
    from foolbox.attacks.base import (
        AttackWithDistance,
        FixedEpsilonAttack,
        MinimizationAttack,
        Repeated,
    )
    from foolbox.criteria import Misclassification, TargetedMisclassification
    from foolbox.distances import LpDistance
    from foolbox.models.base import Model

__all__ = ["to_foolbox"]


def to_foolbox(attack: Attack, *, seed: Seed = 0) -> "FixedSize | Smallest":
    """An attack of Foolbox that runs one of Holdfast's.

    Args:
        attack: whose size is that of the call's epsilons, and whose goal that of its criterion:
            labels, `Misclassification` or `TargetedMisclassification`.
        seed: of all randomness; the same seed gives the images that Holdfast's own call gives.

    Example:
        >>> import foolbox
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.bridges.foolbox import to_foolbox
        >>> fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        >>> attack = to_foolbox(PGD(Linf(0.1)))
        >>> _, (small, large), success = attack(fmodel, x, y, epsilons=[0.01, 0.3])
        >>> torch.allclose(large, PGD(Linf(0.3))(model, x, y), atol=1e-6), success.shape
        (True, torch.Size([2, 4]))
    """
    return (Smallest if attack.finds_smallest else FixedSize)(attack, seed)


class Count(LpDistance):
    """ℓ0, held to a limit: an image with more changes stays clean.

    Foolbox cannot lessen the number of changes, and would end there.
    """

    def clip_perturbation(self, references: Any, perturbed: Any, epsilon: float) -> Any:
        """The images within ``epsilon``, and the clean one for each that is not."""
        (x, found), restore = ep.astensors_(references, perturbed)
        near = self(x, found) <= epsilon
        return restore(ep.where(near.reshape((-1, *[1] * (x.ndim - 1))), found, x))


@dataclass(repr=False)
class _Adapter(AttackWithDistance):
    """What both kinds share."""

    attack: Attack
    seed: Seed = 0

    @property
    def distance(self) -> LpDistance:
        """Foolbox's name of the norm."""
        p = self.attack.threat.p
        return Count(p) if p == 0 else LpDistance(p)

    def __call__(self, model: Any, inputs: Any, criterion: Any, **more: Any) -> Any:
        """Run it as Foolbox does, with the network, which is asked here too, in evaluation mode."""
        network = _network(model)
        warn_if_training(network)
        with eval_mode(network):
            return super().__call__(model, inputs, criterion, **more)  # type: ignore[safe-super]

    def repeat(self, times: int) -> "Redrawn":
        """The best of so many runs, each with randomness of its own."""
        return Redrawn(self, times)

    def _run(self, model: Any, inputs: Any, criterion: Any, eps: float) -> Any:
        images, restore = ep.astensor_(inputs)
        box = Box(*map(float, model.bounds))
        attack = within(self.attack, box.size(eps, self.attack.threat.p))
        network = Rescaled(model, box)
        x = box.unit(images.raw)
        attack, y = self._aimed(attack, network, x, criterion)
        found = attack(network, x, y, seed=self.seed)
        return restore(ep.astensor(box.restored(found, images.raw)))

    def _aimed(
        self, attack: Attack, network: Rescaled, x: Tensor, criterion: Any
    ) -> tuple[Attack, Tensor]:
        """The attack with the criterion's goal, and labels."""
        if isinstance(criterion, TargetedMisclassification):
            target = criterion.target_classes.raw
            return toward_classes(attack, target), network(x).argmax(dim=1)
        if isinstance(criterion, Misclassification):
            return attack, criterion.labels.raw
        if isinstance(criterion, ep.Tensor | Tensor):
            return attack, ep.astensor(criterion).raw
        raise InputError(
            f"the criterion is {kind_of(criterion)}, but Holdfast's attacks know labels, "
            "Misclassification and TargetedMisclassification."
        )


def _network(model: Any) -> nn.Module:
    """The network in a `PyTorchModel`, which shows it to its own function alone; none if hidden."""
    while isinstance(getattr(model, "_model", None), Model):  # other bounds, or averaged
        model = model._model
    held = getattr(getattr(model, "_model", None), "__closure__", None) or ()
    networks = [each.cell_contents for each in held if isinstance(each.cell_contents, nn.Module)]
    found = nn.ModuleList(networks)
    found.training = False  # of itself, so that one that holds nothing is in no mode
    return found


class FixedSize(_Adapter, FixedEpsilonAttack):  # type: ignore[misc]  # a final call, wrapped
    """One of Holdfast's attacks within a ball."""

    def run(self, model: Any, inputs: Any, criterion: Any, *, epsilon: float, **kwargs: Any) -> Any:
        """Attack a batch in the ball of size ``epsilon``."""
        nothing_more(kwargs)  # Foolbox hands on what its caller gave
        return self._run(model, inputs, criterion, epsilon)


class Smallest(_Adapter, MinimizationAttack):  # type: ignore[misc]  # a final call, wrapped
    """One of Holdfast's attacks that look for the smallest perturbation."""

    def run(
        self,
        model: Any,
        inputs: Any,
        criterion: Any,
        *,
        early_stop: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Attack a batch, without a limit: Foolbox holds what is found to each epsilon."""
        nothing_more(kwargs)
        del early_stop  # the smallest epsilon, which Foolbox says in every call
        return self._run(model, inputs, criterion, inf)


class Redrawn(Repeated):
    """One of Holdfast's attacks, repeated: the first run is that of its seed, others have others.

    A seed is all of an attack's randomness here, so that Foolbox's own repetition would find the
    same images in every run.
    """

    def __call__(self, model: Any, inputs: Any, criterion: Any, **more: Any) -> Any:
        """Run it with each seed; Foolbox keeps the best of every image."""
        return Repeated(_Draws(self.attack), self.times)(model, inputs, criterion, **more)

    def repeat(self, times: int) -> "Redrawn":
        """So many times as often."""
        return Redrawn(self.attack, self.times * times)


@dataclass
class _Draws(AttackWithDistance):
    """An attack that has another seed whenever it is called."""

    attack: Any
    drawn: int = 0

    @property
    def distance(self) -> LpDistance:
        """Of the attack, by which Foolbox knows the best."""
        return self.attack.distance

    def __call__(self, *given: Any, **more: Any) -> Any:
        seed = self.attack.seed
        own = hash_seed(seed, "repeat", self.drawn) if self.drawn else seed
        self.drawn += 1
        return replace(self.attack, seed=own)(*given, **more)
