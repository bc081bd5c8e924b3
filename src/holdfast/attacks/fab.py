"""FAB, the fast adaptive boundary attack: project onto linearised boundaries, biased to the image.

    π  = the nearest linearised boundary at x                                       (equation 7)
    δ, δ0 = shortest steps from x and from x0 to π within the box                   (equation 4)
    α  = min(‖δ‖ / (‖δ‖ + ‖δ0‖), α_max)                                             (equation 9)
    x  ← (1 - α)(x + η δ) + α (x0 + η δ0)                                          (equation 8)
    where fooled: keep x if it is closer, x ← (1 - β) x0 + β x                    (equation 10)

The projections are exact, see `shortest_to_plane`; an iterate may leave the fooling side again.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from holdfast import losses
from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.confirmation import confirmed
from holdfast.attacks.engine.hyperplane import (
    Plane,
    across,
    nearest_plane,
    plane_at,
    ranked_classes,
    shortest_to_plane,
)
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.queries import query
from holdfast.attacks.engine.roles import EarlyStop
from holdfast.attacks.engine.segment_search import segment_search
from holdfast.errors import InputError
from holdfast.goals import logits_of, margin
from holdfast.random import Stream, drawing_from
from holdfast.tensors import expand, norm, unit
from holdfast.types import Callback, Images, Labels, Model, PerExample, Score, Step, Threat

__all__ = ["FAB"]


@ATTACKS.named("fab")
@dataclass(frozen=True, kw_only=True)
class FAB(Attack):
    """FAB in ℓ∞, ℓ2 and ℓ1; with ``targets`` it is FAB-T.

    When:
        For distances without a step size to choose; with ``targets`` on many classes, where a step
        without them costs a backward pass for each class.

    When not:
        With few passes on many classes: `FMN` takes one gradient a step. Not where gradients are
        masked: it believes every linearisation.

    Traps:
        An image for which no run fools comes back unchanged. With ``targets`` below the number of
        other classes it passes by the boundaries to the rest, and without restarts it begins at the
        image alone.

    Attributes:
        threat: the norm; points beyond its ``eps`` do not count.
        steps: number of iterations of a run, at least 1; each costs two forward passes and a
            backward pass for every other class, for one class in FAB-T.
        restarts: number of runs from other points, at least 1: the first begins at the image, the
            others at random points no further than half the distance found, or half of ``eps``.
        targets: FAB-T: each restart is a run for each of that many classes, from the largest logits
            on the clean image, with the boundary to that class only. None looks at the boundaries
            to all classes and takes the nearest at every step.
        alpha_max: largest bias α_max towards the image, in [0, 1].
        eta: extrapolation η beyond the plane, at least 1.
        beta: backward step, in (0, 1): the fraction β of the perturbation that is kept.
        search: number of points tried afterwards between the image and the closest one found.
        early_stop: stop an image at the first point found within the threat's eps.

    Raises:
        InputError: if a number is out of range.

    Reference:
        Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary
        attack", ICML 2020, algorithm 1; FAB-T: Croce and Hein, "Reliable evaluation of adversarial
        robustness with an ensemble of diverse parameter-free attacks", ICML 2020.

    Differs from the paper in the final search, see `segment_search`.

    Example:
        >>> from holdfast import L1
        >>> from holdfast.attacks import FAB
        >>> x_adv = FAB(L1(float("inf")), steps=10)(model, x, y, seed=0)
        >>> bool((model(x_adv).argmax(dim=1) != y).all())
        True
    """

    finds_smallest: ClassVar[bool] = True

    threat: Threat = field(kw_only=False)
    steps: int = 100
    restarts: int = 1
    targets: int | None = None
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    search: int = 3
    early_stop: EarlyStop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("steps", 1), ("restarts", 1), ("targets", 1), ("search", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}, but must be at least {least}.")
        if not 0 <= self.alpha_max <= 1:
            raise InputError(f"alpha_max is {self.alpha_max}, but is a fraction between 0 and 1.")
        if not 1 <= self.eta < math.inf:
            raise InputError(
                f"eta is {self.eta}, but is a number of at least 1: no step falls short."
            )
        if not 0 < self.beta < 1:
            raise InputError(f"beta is {self.beta}, but must lie between 0 and 1.")

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Run towards the boundary again and again, then search; see `Attack.perturb`."""
        with torch.no_grad(), drawing_from(rng.fold("clean")):
            logits = logits_of(model, x0)
        score = margin(model, x0, y)
        below = losses.margin(logits, y)
        above = below.clone()
        held = Closest(x0, self.threat.unlimited())
        held.offer(x0, logits.argmax(dim=1) != y)
        others = ranked_classes(logits, y)
        planes = [others] if self.targets is None else others[:, : self.targets].split(1, dim=1)
        for run in range(self.restarts * len(planes)):
            restart, target = divmod(run, len(planes))
            at = _Points(x0, x0, y, planes[target], score, rng.fold("run", run))
            at.keep(held.improvable(self.threat, self.early_stop))
            if not len(at):
                break
            if restart:
                at.x = self._elsewhere(at.x0, held.distance[at.position], at.rng.fold("start"))
            for step in range(self.steps):
                stream = at.rng.fold("step", step)
                plane = nearest_plane(model, at.x, at.y, at.others, p=self.threat.p, rng=stream)
                at.x = self._towards(at.x, at.x0, plane)
                value, reached = query(at.score, at.x, stream)
                better = held.offer(at.x, reached, at.position)
                at.scatter(above, torch.where(better, value, above[at.position]))
                if callback is not None:
                    callback(Step(step, at.position, at.x, value, plane.normal, reached))
                back = at.x0 + self.beta * (at.x - at.x0)
                at.x = torch.where(expand(reached, back), back, at.x)
                if self.early_stop and better.any():
                    at.keep(held.improvable(self.threat, self.early_stop)[at.position])
                    if not len(at):
                        break
        left = torch.nonzero(held.found & held.improvable(self.threat, self.early_stop))[:, 0]
        ends, stream = (below, above), rng.fold("search")
        segment_search(score, x0, held, ends, position=left, steps=self.search, rng=stream)
        return confirmed(model, score, held, self.threat, rng)

    def _towards(self, x: Images, x0: Images, plane: Plane) -> Images:
        """Extrapolated steps from ``x`` and from ``x0``, weighed by α (equations 8 and 9)."""
        p = self.threat.p
        plane = across(plane, x, p)
        step = shortest_to_plane(x, plane, p)
        step0 = shortest_to_plane(x0, plane_at(plane, x, x0), p)
        length, length0 = norm(step, p), norm(step0, p)
        fraction = length / (length + length0)
        alpha = expand(fraction.nan_to_num(0).clamp(max=self.alpha_max), step)
        moved = (1 - alpha) * (x + self.eta * step) + alpha * (x0 + self.eta * step0)
        return moved.clamp(0, 1).to(x.dtype)

    def _elsewhere(self, x0: Images, found: PerExample, rng: Stream) -> Images:
        """A random point at half the distance found, or half of eps; cut by the box."""
        p, shape = self.threat.p, x0.shape[1:]
        noise = rng.uniform(shape, x0.dtype) - 0.5 if math.isinf(p) else rng.normal(shape, x0.dtype)
        radius = found.clamp(max=self.threat.reach(x0)).to(x0.dtype) / 2
        return (x0 + expand(radius, x0) * unit(noise, p)).clamp(0, 1)


@dataclass(eq=False)
class _Points(Active):
    """Where one run has taken each example."""

    x: Images
    x0: Images
    y: Labels
    others: Int[Tensor, "n c"]  # classes whose boundaries are looked at
    score: Score
    rng: Stream
