"""SuperDeepFool: DeepFool's way to the boundary, turned to be orthogonal to it, and again.

    x̃ = DeepFool(x)
    w = ∇z_k(x̃) - ∇z_y(x̃), k being the class that is predicted at x̃
    x = x0 + ⟨x̃ - x0, w⟩ w / ‖w‖²          until x is misclassified         (algorithm 3)

The nearest point of a boundary is one at which the perturbation is parallel to its normal, which
DeepFool does not ask for.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from holdfast.attacks.deepfool import DeepFool, deepfool_perturbation
from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.confirmation import confirmed
from holdfast.attacks.engine.hyperplane import ranked_classes
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.queries import query
from holdfast.attacks.engine.roles import EarlyStop
from holdfast.attacks.engine.segment_search import segment_search
from holdfast.goals import margin
from holdfast.gradients import Forward
from holdfast.parameters import at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.tensors import expand, unit, widest
from holdfast.threat import finite
from holdfast.types import Callback, Images, Labels, Model, Positions, Step, Threat

__all__ = ["SuperDeepFool"]


@ATTACKS.named("superdeepfool")
@dataclass(frozen=True, kw_only=True)
class SuperDeepFool(Attack):
    """SDF(∞, 1): DeepFool to the boundary, then onto the boundary's normal through the image.

    The closest of all points that fooled on the way is searched along its segment to the image.

    When:
        For ℓ2 distances on smooth networks from few gradients.

    When not:
        Where the gradient misleads: it has no second try. `DDN`, or `Nearest`.

    Traps:
        The distance is that of a stationary point and no proof of the smallest; points are cut by
        [0, 1], so that in the end it need not lie along the normal. Like DeepFool it looks at
        ``classes`` classes only.

    Attributes:
        threat: an ℓ2 ball; points beyond its ``eps`` do not count.
        steps: how often to go both ways, at least 1; most images take one or two.
        deepfool_steps: most iterations of DeepFool in each, at least 1.
        overshoot: DeepFool's η >= 0.
        classes: how many classes DeepFool looks at, beside the label; each costs a backward pass in
            every iteration.
        search: number of points tried afterwards between the clean image and the closest found.
        early_stop: stop an image that was fooled within the threat's ``eps``.

    Raises:
        InputError: in ℓ∞ or ℓ1, for which the paper has no projection: take `FAB` or `FMN`. If a
            number is out of its range.

    Reference:
        Abdolahpourrostam, Abroshan and Moosavi-Dezfooli, "SuperDeepFool: a new fast and accurate
        minimal adversarial attack", NeurIPS 2024, algorithm 3. Differs from the paper in that
        points are cut by [0, 1], and that DeepFool's points count too where they are closer.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import DeepFool, SuperDeepFool
        >>> threat = L2(float("inf"))
        >>> first, further = DeepFool(threat)(model, x, y), SuperDeepFool(threat)(model, x, y)
        >>> bool((model(further).argmax(dim=1) != y).all())
        True
        >>> bool((threat.distance(further, x) <= threat.distance(first, x)).all())
        True
    """

    finds_smallest: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    threat: Threat = field(kw_only=False)
    steps: int = 10
    deepfool_steps: int = 50
    overshoot: float = 0.02
    classes: int = 10
    search: int = 10
    early_stop: EarlyStop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(steps=self.steps, deepfool_steps=self.deepfool_steps, classes=self.classes)
        DeepFool(self.threat, overshoot=self.overshoot, search=self.search)  # which checks them

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Walk, project, and walk again where that does not fool; see `Attack.perturb`."""
        with drawing_from(rng.fold("goal")):
            score = margin(model, x0, y)
        closest = Closest(x0, self.threat.unlimited())
        clean = held = torch.zeros(len(x0), device=x0.device)  # margins at x0, and at the closest
        at = _Images(x0, x0, y, rng)
        for i in range(self.steps):
            walk = deepfool_perturbation(
                model,
                at.x,
                at.y,
                threat=self.threat,
                rng=at.rng.fold("walk", i),
                steps=self.deepfool_steps,
                overshoot=self.overshoot,
                classes=self.classes,
                callback=_told(callback, at.position, i * self._each),
            )
            clean = walk.margin_at_x0 if i == 0 else clean
            kept = closest.offer(walk.x, walk.reached, at.position)
            held = held.index_copy(
                0, at.position, torch.where(kept, walk.margin, held[at.position])
            )
            w = _normal(model, walk.x, at.y, at.rng.fold("normal", i))
            at.x = _along(w, walk.x, at.x0)
            value, reached = query(score.take(at.position), at.x, at.rng.fold("query", i))
            if callback is not None:
                callback(Step((i + 1) * self._each - 1, at.position, at.x, value, w, reached))
            kept = closest.offer(at.x, reached, at.position)
            held = held.index_copy(
                0, at.position, torch.where(kept, value.to(held), held[at.position])
            )
            onward = ~reached & w.flatten(1).any(dim=1)  # without a normal there is no other way
            at.keep(onward & closest.improvable(self.threat, self.early_stop)[at.position])
            if not len(at):
                break
        left = closest.found & closest.improvable(self.threat, self.early_stop)
        segment_search(
            score,
            x0,
            closest,
            (clean, held),
            position=torch.nonzero(left)[:, 0],
            steps=self.search,
            rng=rng.fold("search"),
        )
        return confirmed(model, score, closest, self.threat, rng)

    @property
    def _each(self) -> int:
        """Points of one walk and its projection, as callbacks count them."""
        return self.deepfool_steps + 2


@dataclass(eq=False)
class _Images(Active):
    """Those that have not been fooled at the end of both ways."""

    x0: Images
    x: Images
    y: Labels
    rng: Stream


def _normal(model: Model, x: Images, y: Labels, rng: Stream) -> Images:
    """The unit normal, at ``x``, of the boundary to the first class but the label."""
    with drawing_from(rng):
        forward = Forward(model, x)
        other = ranked_classes(forward.logits.detach(), y)[:, :1]
        return unit(finite(forward.gradients(other, minus=y)[:, 0]), 2)


def _along(w: Images, x: Images, x0: Images) -> Images:
    """The point x0 + ⟨x - x0, w⟩ w, cut by the box; ``w`` has norm 1."""
    wide = widest(x.device)
    length = ((x.to(wide) - x0.to(wide)) * w.to(wide)).flatten(1).sum(dim=1)
    return (x0.to(wide) + expand(length, x0) * w.to(wide)).clamp(0, 1).to(x0)


def _told(callback: Callback | None, position: Positions, first: int) -> Callback | None:
    """The callback, told of a walk's steps by their places in the whole batch and attack."""
    if callback is None:
        return None

    def tell(step: Step) -> None:
        callback(step._replace(step=first + step.step, position=position[step.position]))

    return tell
