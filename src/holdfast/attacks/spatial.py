"""Rotation and flipped pixels, alone and before another attack (EAT appendix C.1)."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch.nn import functional

from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.compose import Then
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.queries import query
from holdfast.attacks.ifgsm import IFGSM
from holdfast.errors import InputError
from holdfast.goals import cross_entropy, margin
from holdfast.random import Stream, drawing_from
from holdfast.tensors import expand, planes, widest
from holdfast.threat import Linf
from holdfast.types import Callback, Goal, Images, Labels, Model, Score, Step, Threat

__all__ = ["Spatial", "SpatialIFGSM"]


@ATTACKS.named("spatial")
@dataclass(frozen=True, kw_only=True)
class Spatial(Attack):
    """Rotate the image about its centre, then flip random pixels, x → 1 - x in all channels.

        x_adv = F_a(R_a(x)),  a = argmax L(F_a(R_a(x))) over ``angles``

    R_a rotates by a degrees, and F_a flips its own random pixels.
    With one angle every image is transformed and nothing is asked. With several, each image gets
    the first that reaches the goal, or else the one of the highest score; an angle costs one
    forward pass. Rotation is bilinear, and black beyond the edge.

    When:
        To see how a network bears rotation, which no small ball holds.

    When not:
        Beside a robust accuracy in a norm, with which its result does not compare.

    Traps:
        An image that would leave the threat stays as it is, so a small ε undoes the rotation and
        the network looks robust: give an infinite one. With one angle nothing is asked, and the
        same angle turns all images.

    Attributes:
        threat: an image that would leave it stays as it is. Rotation leaves every small ball:
            give an infinite ``eps`` for no limit but the box.
        angles: in degrees, counterclockwise.
        flips: number of pixels to flip, at random places, which are drawn anew for each angle.
        goal: what to ascend.

    Raises:
        InputError: if there is no angle, one is not finite, or flips is negative.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, appendix C.1: 20° and 5 pixels.
        The worst of several angles as in Engstrom et al., "Exploring the landscape of spatial
        robustness", ICML 2019.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import Spatial
        >>> attack = Spatial(Linf(float("inf")), angles=(-30.0, 0.0, 30.0), flips=2)
        >>> attack(model, x, y, seed=0).shape == x.shape
        True
    """

    follows_gradients: ClassVar[bool] = False

    threat: Threat = field(kw_only=False)
    angles: tuple[float, ...] = (20.0,)
    flips: int = 0
    goal: Goal = margin

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.angles or not all(math.isfinite(angle) for angle in self.angles):
            raise InputError(f"angles is {self.angles}, but must hold finite angles in degrees.")
        if self.flips < 0:
            raise InputError(f"flips is {self.flips}, but a number of pixels is at least 0.")

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Transform, and where there is a choice, choose; see `Attack.perturb`."""
        if len(self.angles) == 1:
            return self._transform(x0, self.angles[0], rng.fold("flips", 0))
        with drawing_from(rng.fold("goal")):
            score = self.goal(model, x0, y)
        worst = x0.clone()
        best = torch.full((len(x0),), -torch.inf, dtype=widest(x0.device), device=x0.device)
        at = _Left(x0, score, rng)
        for i, angle in enumerate(self.angles):
            x = self._transform(at.x0, angle, at.rng.fold("flips", i))
            value, reached = query(at.score, x, at.rng.fold("query", i))
            if callback is not None:
                callback(Step(i, at.position, x, value, None, reached))
            better = reached | (value > best[at.position])
            at.scatter(worst, torch.where(expand(better, x), x, worst[at.position]))
            at.scatter(best, torch.where(better, value.to(best), best[at.position]))
            at.keep(~reached)
            if not len(at):
                break
        return worst

    def _transform(self, x0: Images, angle: float, rng: Stream) -> Images:
        """The image rotated and flipped; as it is where that leaves the threat."""
        x = flip(rotate(x0, angle), self.flips, rng)
        inside = self.threat.distance(x, x0) <= self.threat.eps
        return torch.where(expand(inside.to(x.device), x), x, x0)


@dataclass(eq=False)
class _Left(Active):
    """The images that no angle has turned far enough."""

    x0: Images
    score: Score
    rng: Stream


def rotate(x: Images, angle: float) -> Images:
    """Rotate counterclockwise by ``angle`` degrees about the centre, bilinear, black outside.

    Example:
        >>> from holdfast.attacks.spatial import rotate
        >>> image = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
        >>> rotate(image, 180).round()
        tensor([[[[0., 0.],
                  [1., 0.]]]])
    """
    if angle % 360 == 0:
        return x
    image = planes(x)
    height, width = image.shape[2:]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # Where each pixel comes from, in coordinates that run from -1 to 1 along either side.
    source = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
    work = image if image.dtype == torch.float64 else image.float()
    theta = torch.tensor([source], dtype=work.dtype, device=x.device)
    grid = functional.affine_grid(theta, [1, 1, height, width], align_corners=False)
    turned = functional.grid_sample(
        work, grid.expand(len(x), -1, -1, -1), align_corners=False, padding_mode="zeros"
    )
    return turned.clamp(0, 1).to(x.dtype).view_as(x)


def flip(x: Images, count: int, rng: Stream) -> Images:
    """Turn x into 1 - x at ``count`` random pixels, in all channels.

    Example:
        >>> from holdfast.attacks.spatial import flip
        >>> from holdfast.random import Stream
        >>> flipped = flip(torch.zeros(2, 3, 8, 8), 5, Stream.of(0, torch.arange(2)))
        >>> flipped.sum(dim=(2, 3))
        tensor([[5., 5., 5.],
                [5., 5., 5.]])
    """
    image = planes(x).flatten(2)
    rank = rng.uniform(image.shape[2:]).argsort(dim=1).argsort(dim=1)
    return torch.where((rank < count)[:, None], 1 - image, image).view_as(x)


@ATTACKS.named("spatial+i-fgsm")
def SpatialIFGSM(
    threat: Threat,
    *,
    angle: float = 20.0,
    flips: int = 5,
    steps: int = 10,
    step_size: float | None = None,
    goal: Goal = cross_entropy,
    early_stop: bool = True,
) -> Then:
    """Rotate by a fixed angle, flip random pixels, then I-FGSM around the outcome (EAT C.1).

        x_0 = F(R_a(x)),  x_{t+1} = Π(x_t + α · steepest(∇L(x_t, y))),  Π into the ball around x_0

    The result lies in no ball around the clean image: its own threat has no limit but the box.

    When:
        To transfer, as the paper does: what is rotated is far from where a defence was trained.

    When not:
        For an accuracy within a ball.

    Traps:
        ε is that of the ball around the rotated image, not around the clean one. Rotation alone
        costs accuracy on any network: report it beside this (EAT C.1 does).

    Args:
        threat: the ball of I-FGSM around the transformed image; ε = 0.3 in ℓ∞ in the paper.
        angle: in degrees, counterclockwise.
        flips: number of random pixels to flip.
        steps: number of steps of I-FGSM.
        step_size: its α; ε / steps by default.
        goal: what I-FGSM ascends.
        early_stop: see `Ascent`.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, appendix C.1 and figure 3.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import SpatialIFGSM
        >>> attack = SpatialIFGSM(Linf(0.3), angle=20.0, flips=5, steps=5)
        >>> attack.threat  # rotation leaves every ball
        Linf(eps=inf)
    """
    return Then(
        first=Spatial(Linf(math.inf), angles=(angle,), flips=flips),
        second=IFGSM(threat, steps=steps, step_size=step_size, goal=goal, early_stop=early_stop),
    )
