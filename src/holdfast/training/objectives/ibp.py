"""Training by interval bound propagation: the worst that the ball can hold, as far as is proven."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from holdfast.errors import InputError
from holdfast.models.propagation import worst_margins
from holdfast.random import Stream
from holdfast.training.objectives.names import OBJECTIVES
from holdfast.types import Images, Labels, Model, Objective, Threat

__all__ = ["IBP"]


@OBJECTIVES.named("ibp")
@dataclass(frozen=True, kw_only=True)
class IBP:
    """Interval bound propagation: κ · CE(f(x), y) + (1 - κ) · CE(worst logits in the ball, y).

    The worst logits are bounds of z_k - z_y, `holdfast.models.propagation.worst_margins`. A network
    that begins with the whole ball answers one class for all: ε rises from 0 and κ falls from 1,
    both linearly in the share of the steps.

    When:
        For ℓ∞ certificates without noise or votes, on small networks of linear and convolutional
        layers.

    When not:
        On networks that intervals cannot be carried through; nor for the best clean accuracy.

    Traps:
        Too fast a ramp of ε leaves a network that answers one class. Intervals prove next to
        nothing of networks that were not trained so, which says nothing of them.

    Attributes:
        threat: ℓ∞ or ℓ2; the ball in the end.
        kappa: κ in the end, in [0, 1].
        warm_up: share of the steps on clean images alone, in [0, 1).
        ramp: share of the steps over which ε and κ then move, in [0, 1 - warm_up].

    Raises:
        InputError: if a number is out of range; at the first batch, for another norm.
        ModelError: at the first batch, if intervals cannot be carried through the network.

    Reference:
        Gowal et al., "On the effectiveness of interval bound propagation for training verifiably
        robust models", 2018, section 3.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.random import Stream
        >>> from holdfast.training import IBP
        >>> objective, rng = IBP(Linf(0.01)), Stream.of(0, torch.arange(4))
        >>> loss, terms = objective(model, x, y, rng)
        >>> bool(terms["worst"] >= terms["clean"] - 1e-6)
        True
    """

    threat: Threat = field(kw_only=False)
    kappa: float = 0.5
    warm_up: float = 0.05
    ramp: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.kappa <= 1:
            raise InputError(f"kappa is {self.kappa}, but is a weight between 0 and 1.")
        if not (0 <= self.warm_up < 1 and 0 <= self.ramp <= 1 - self.warm_up):
            raise InputError(
                f"warm_up is {self.warm_up} and ramp {self.ramp}, but they are shares of the "
                "training that sum to at most 1, and warm_up is below it."
            )
        if not math.isfinite(self.threat.eps):
            raise InputError(f"eps is {self.threat.eps}, but a ball without a limit has no bounds.")

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch in the end; see `holdfast.types.Objective`."""
        return self._loss(1.0, model, x, y, rng)

    def during(self, progress: float) -> Objective:
        """The objective on the way; see `holdfast.training.Paced`."""
        risen = (
            (progress - self.warm_up) / self.ramp if self.ramp else float(progress >= self.warm_up)
        )
        return partial(self._loss, min(max(risen, 0.0), 1.0))

    def _threat(self, risen: float) -> Threat:
        ball: Threat = replace(cast(Any, self.threat), eps=risen * self.threat.eps)
        return ball

    def _loss(
        self, risen: float, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        del rng  # nothing is drawn
        logits = model(x)
        clean = functional.cross_entropy(logits, y)
        terms = {"accuracy": (logits.argmax(dim=1) == y).float().mean(), "clean": clean}
        kappa = 1 - risen * (1 - self.kappa)
        if not risen:  # no ball yet
            return clean, {"loss": clean, **terms}
        margins = worst_margins(model, x, y, self._threat(risen))
        worst = functional.cross_entropy(margins, y)
        loss = kappa * clean + (1 - kappa) * worst
        others = margins.scatter(1, y[:, None], -torch.inf).amax(dim=1)
        return loss, {
            "loss": loss,
            **terms,
            "worst": worst,
            "proven_accuracy": (others < 0).float().mean(),
        }
