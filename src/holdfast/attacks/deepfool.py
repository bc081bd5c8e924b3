"""DeepFool: step to the nearest boundary as the gradients show it, until it is crossed.

    k* = argmin_k |f_k(x)| / ‖w_k‖_q,  f_k = z_k - z_y,  w_k = ∇f_k                 (equation 8)
    r  = |f_k*| / ‖w_k*‖_q along the direction in which f_k* rises fastest   (equations 9 and 11)
    x  = x0 + (1 + η) Σ r                                                         (algorithm 2)

One function computes the perturbation for the attack and for Deep Defense, whose training loss
holds its length.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from holdfast import goals, losses
from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.confirmation import confirmed
from holdfast.attacks.engine.hyperplane import (
    Plane,
    across,
    nearest_from,
    nearest_plane,
    ranked_classes,
)
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.roles import EarlyStop
from holdfast.attacks.engine.segment_search import segment_search
from holdfast.errors import InputError
from holdfast.goals import logits_of
from holdfast.gradients import Forward
from holdfast.parameters import at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.tensors import expand, norm
from holdfast.threat import dual
from holdfast.types import Callback, Flags, Images, Labels, Model, PerExample, Step, Threat

__all__ = ["DeepFool", "Walk", "deepfool_perturbation"]

#: Smallest step, as a fraction of the overshoot: small beside it, and large beside rounding.
_LEAST = 0.01


@ATTACKS.named("deepfool")
@dataclass(frozen=True, kw_only=True)
class DeepFool(Attack):
    """DeepFool in ℓ∞ and ℓ2; an image stops at its first point that is misclassified.

    When:
        For a quick distance, ρ₂, and inside Deep Defense.

    When not:
        For the smallest distance: on the PGD-trained network of docs/results/attack-strength.md it
        is 3.24 away where `FMN` is 1.92.

    Traps:
        Two measures go by the name of ρ₂: this attack's, in the box and until it succeeds, and that
        of Deep Defense's code, without a box and after five steps (`holdfast.diagnose.margins`);
        the same weights have another number by each. With ``classes`` below all it may pass by the
        nearest boundary.

    Attributes:
        threat: the norm; points beyond its ``eps`` do not count.
        steps: number of iterations, at least 1.
        overshoot: η >= 0, by how much more than the plane's distance to move.
        classes: how many classes to look at, from the largest logits on the clean image, beside
            the label; each costs a backward pass in every iteration.
        search: number of points tried afterwards between the clean image and the one found, to
            take back the overshoot; 0 in the paper.
        early_stop: do not search for an image that was fooled within the threat's eps.

    Raises:
        InputError: in ℓ1, where a step moves one pixel only and the sides of the box stop it: take
            `FAB`. If a number is out of range.

    Reference:
        Moosavi-Dezfooli, Fawzi and Frossard, "DeepFool: a simple and accurate method to fool deep
        neural networks", CVPR 2016, algorithm 2.

    Differs from the paper in that iterates are cut by [0, 1], and that the overshoot counts at
        every iterate, as in the authors' code. That code also lengthens every step by 1e-4, so
        that the walk ends; here a step is at least η / 100 of the way made so far.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import DeepFool
        >>> x_adv = DeepFool(L2(float("inf")))(model, x, y)
        >>> bool((model(x_adv).argmax(dim=1) != y).all())
        True
    """

    finds_smallest: ClassVar[bool] = True
    #: In ℓ1 it would move a single pixel, and be stopped by the box.
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    threat: Threat = field(kw_only=False)
    steps: int = 50
    overshoot: float = 0.02
    classes: int = 10
    search: int = 0
    early_stop: EarlyStop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(steps=self.steps, classes=self.classes)
        if self.search < 0:
            raise InputError(f"search is {self.search}, but must be at least 0.")
        if not 0 <= self.overshoot < math.inf:
            raise InputError(f"overshoot is {self.overshoot}, but is a number of at least 0.")

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Walk over the boundary, then back along the segment; see `Attack.perturb`."""
        held = Closest(x0, self.threat.unlimited())
        walk = deepfool_perturbation(
            model,
            x0,
            y,
            threat=self.threat,
            rng=rng,
            steps=self.steps,
            overshoot=self.overshoot,
            classes=self.classes,
            callback=callback,
        )
        held.offer(walk.x, walk.reached)
        left = held.found & held.improvable(self.threat, self.early_stop)
        score = goals.margin(model, x0, y)
        segment_search(
            score,
            x0,
            held,
            (walk.margin_at_x0, walk.margin),
            position=torch.nonzero(left)[:, 0],
            steps=self.search,
            rng=rng.fold("search"),
        )
        return confirmed(model, score, held, self.threat, rng)


class Walk(NamedTuple):
    """Where DeepFool took N images.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import deepfool_perturbation
        >>> from holdfast.random import Stream
        >>> rng = Stream.of(0, torch.arange(len(x)))
        >>> walk = deepfool_perturbation(model, x, y, threat=L2(float("inf")), rng=rng)
        >>> walk.reached
        tensor([True, True, True, True])
        >>> bool((walk.margin_at_x0 < 0).all()), bool((walk.margin > 0).all())
        (True, True)
    """

    delta: Images  # Δ
    x: Images  # the last iterate that was looked at
    reached: Flags  # whether the image stopped there, having reached its goal
    margin_at_x0: PerExample  # max_{k != y} z_k - z_y on the clean image
    margin: PerExample  # the same at x


def deepfool_perturbation(
    model: Model,
    x0: Images,
    y: Labels,
    *,
    threat: Threat,
    rng: Stream,
    steps: int = 50,
    overshoot: float = 0.02,
    classes: int = 10,
    box: bool = True,
    to_label: bool = False,
    create_graph: bool = False,
    callback: Callback | None = None,
) -> Walk:
    """DeepFool's perturbation Δ = (1 + η) Σ r, which Deep Defense differentiates in the weights.

    Args:
        model: maps (N, C, H, W) to logits (N, K).
        x0: (N, C, H, W) images in [0, 1].
        y: (N,) labels.
        threat: ℓ2 or ℓ∞, its norm alone.
        rng: the model's own randomness.
        steps: number of iterations.
        overshoot: η; 0.02 as an attack.
        classes: how many classes to look at beside the label.
        box: cut every iterate by [0, 1]; Deep Defense does not.
        to_label: images that are misclassified go to their label, each step over the boundary
            between the label and the class predicted at that point (Deep Defense 3.4); otherwise
            they stay as they are.
        create_graph: Δ is differentiable in the model's weights, through all its steps (Deep
            Defense equations 2 and 5, whose "reverse network" is autograd's double backward). The
            choice of boundaries is taken as constant.
        callback: receives every iterate; ``reached`` is whether that image stops there.

    Returns:
        Where every image went, also those that were not fooled after all steps.

    Reference:
        Moosavi-Dezfooli et al. 2016; Yan et al., "Deep Defense: training DNNs with improved
        adversarial robustness", NeurIPS 2018, section 3.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import deepfool_perturbation
        >>> from holdfast.random import Stream
        >>> rng = Stream.of(0, torch.arange(len(x)))
        >>> walk = deepfool_perturbation(model, x, y, threat=L2(1.0), rng=rng, create_graph=True)
        >>> walk.delta.square().sum().backward()  # into the weights
        >>> bool(model[1].weight.grad.any())
        True
    """
    total = torch.zeros_like(x0, dtype=torch.promote_types(x0.dtype, torch.float32))
    last, stopped = x0.clone(), torch.zeros(len(x0), dtype=torch.bool, device=x0.device)
    margin_at_x0 = margin = torch.zeros(len(x0), device=x0.device)
    # Which images are wrong, and the classes to look at, the first pass will tell.
    at = _Iterates(x0, y, total, rng, wrong=stopped, others=y[:, None])
    for step in range(steps + 1):
        x = at.x0 + (1 + overshoot) * at.total
        if box:  # what the box cuts off is not carried on: the next step begins where the image is
            x = x.clamp(0, 1)
            at.total = (x - at.x0).to(total) / (1 + overshoot)
        x = x.to(x0.dtype)
        stream = at.rng.fold("step", step)
        with torch.set_grad_enabled(create_graph), drawing_from(stream):
            forward = Forward(model, x) if create_graph else None
            logits = forward.logits.detach() if forward else logits_of(model, x)
        if step == 0:
            at.wrong = (logits.argmax(dim=1) != y) & to_label
            at.others = ranked_classes(logits, y)[:, :classes]
        predicted = logits.argmax(dim=1, keepdim=True)
        # Towards the label there is one boundary to cross, that of the class predicted by now.
        facing = torch.where(at.wrong[:, None], predicted, at.others)
        reached, value = (predicted[:, 0] != at.y) ^ at.wrong, losses.margin(logits, at.y)
        margin = margin.index_copy(0, at.position, value.to(margin))
        margin_at_x0 = margin if step == 0 else margin_at_x0
        at.scatter(last, x.detach())
        at.scatter(stopped, reached)
        total = total.index_copy(0, at.position, at.total)
        seen = Step(step, at.position, x.detach(), value, None, reached)
        on, labels = ~reached, at.y
        at.keep(on)
        if step < steps and len(at):
            # To go on from this pass costs no more than another, for the few that stop have their
            # gradients taken too; an attack asks again, so that no image's passes hang on others.
            if forward and facing.shape[1] * int(reached.sum()) <= len(at):
                with drawing_from(stream):
                    plane = nearest_from(forward, labels, facing, p=threat.p, create_graph=True)
                plane = Plane(plane.value[on], plane.normal[on])
            else:
                plane = nearest_plane(
                    model,
                    x[on],
                    at.y,
                    facing[on],
                    p=threat.p,
                    rng=stream.take(on),
                    create_graph=create_graph,
                )
            grad = torch.full_like(x, torch.nan)  # none is taken where the image stops
            grad[on] = plane.normal.detach().to(x.dtype)
            seen = seen._replace(grad=grad)
            side = torch.where(at.wrong, -1, 1)
            ahead = Plane(side * plane.value, expand(side, plane.normal) * plane.normal)
            ahead = across(ahead, x[on], threat.p)
            least = _LEAST * overshoot * norm(at.total.detach(), threat.p)
            at.total = at.total + _shortest(ahead, least, threat).to(total)
        if callback is not None:
            callback(seen)
        if not len(at):
            break
    result = x0 + (1 + overshoot) * total
    delta = (result.clamp(0, 1) if box else result) - x0
    return Walk(delta, last, stopped, margin_at_x0, margin)


@dataclass(eq=False)
class _Iterates(Active):
    """What is known of the images that have not crossed a boundary yet."""

    x0: Images
    y: Labels
    total: Images  # Σ r
    rng: Stream
    wrong: Flags  # misclassified, and on the way to the label
    others: Int[Tensor, "n c"]  # classes to look at


def _shortest(plane: Plane, least: PerExample, threat: Threat) -> Images:
    """|f| / ‖w‖_q, or ``least`` if that is more, along sign(w) in ℓ∞ and w / ‖w‖₂ in ℓ2."""
    value, normal = plane
    length = norm(normal, dual(threat.p)).clamp(min=0.5)  # at least 1 unless w = 0
    direction = normal.sign() if math.isinf(threat.p) else normal / expand(length, normal)
    size = torch.maximum(-value / length, least).clamp(max=threat.diameter(normal))
    return expand(size, normal) * direction
