"""Black box by transfer: craft on a model that the attacker holds, score on the target.

The target is never asked while the images are made, so a model that masks its gradients gains
nothing by it (EAT section 4, definitions 3 and 4). The source may be a network trained for the same
purpose, several of them (`holdfast.models.Ensemble`), or one trained on the target's own answers
(`holdfast.training.distill`, `substitute`).
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.roles import Role, rebuilt
from holdfast.checks import Checked
from holdfast.random import Stream, own_global_generator
from holdfast.tensors import device_of, eval_mode, fingerprint
from holdfast.types import Callback, Images, Labels, Model, Step, Threat

__all__ = ["On"]


@dataclass(frozen=True, kw_only=True)
class On(Attack):
    """Run an attack on a source model and return its images, whichever model is attacked.

    An early stop would be about the source: an image would rest where it has just crossed the
    source's boundary, or before its first step where the source is wrong by itself, and rarely
    transfer. So the attack spends its whole budget unless ``early_stop`` says otherwise. For the
    same reason an attack that looks for the smallest perturbation transfers badly.

    The images depend on the source's randomness alone; on a stochastic source give an attack made
    by `against_randomness`. Passes through the source are not passes through the target, and no
    count of those includes them.

    Attributes:
        source: the model to craft on, on any device; run in evaluation mode and left as it was.
        attack: what to run on it.
        name: of the source, for the record.
        early_stop: leave the attack's own early stopping on.
        dropout: let the source's dropout layers draw, keyed by the stream, as EAT's code for MNIST
            does in its static sources.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, definitions 3 and 4; Papernot et
        al., "Transferability in machine learning", 2016.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import On, PGD
        >>> source = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()  # what the attacker holds
        >>> x_adv = On(source, PGD(Linf(0.3)), name="linear")(model, x, y, seed=0)
        >>> bool((x_adv - x).abs().max() <= 0.3)
        True
    """

    source: Model = field(kw_only=False, repr=False)
    attack: Attack = field(kw_only=False)
    name: str
    early_stop: bool = False
    dropout: bool = False

    def __repr__(self) -> str:
        dropout = ", dropout=True" if self.dropout else ""
        return f"On({self.attack}, name={self.name!r}, weights={self.weights!r}{dropout})"

    @property
    def threat(self) -> Threat:
        """That of the attack."""
        return self.attack.threat

    @cached_property
    def weights(self) -> str:
        """Fingerprint of the source."""
        return fingerprint(self.source)

    @cached_property
    def crafting(self) -> Attack:
        """The attack as it is run: without early stopping, unless that was asked for."""
        return self.attack if self.early_stop else spending(self.attack)

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Craft on the source; ``model`` plays no part. See `Attack.perturb`."""
        del model
        here, there = x0.device, device_of(self.source)
        rng = replace(rng.fold("source"), index=rng.index.to(there), copy=rng.copy.to(there))
        watch = None if callback is None else _brought_to(here, callback)
        source = Checked(self.source, y.to(there), x0.dtype)
        seed = rng.key
        if self.dropout:  # the parts of a batch share the key, and would share their masks
            seed = rng.fold("dropout", int(rng.index[0])).key
        asked = eval_mode(self.source, dropout=self.dropout, images=x0.dtype)
        with asked, own_global_generator(seed, there):
            x_adv = self.crafting.perturb(source, x0.to(there), y.to(there), rng, watch)
        return x_adv.to(here)


def spending(attack: Attack) -> Attack:
    """The attack without early stopping, in all its parts.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.attacks.engine.transfer import spending
        >>> spending(PGD(Linf(0.3))).early_stop
        False
    """
    return rebuilt(attack, {Role.ATTACK: spending, Role.EARLY_STOP: lambda _: False})


def _brought_to(device: torch.device, callback: Callback) -> Callback:
    """A callback that is given its tensors on the device where the attack was called."""

    def brought(step: Step) -> None:
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in step._asdict().items()
            if isinstance(value, Tensor)
        }
        callback(step._replace(**moved))

    return brought
