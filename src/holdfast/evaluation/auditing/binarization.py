"""The binarization test: whether an attack finds what is known to be there."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.attacks.engine.roles import Role, rebuilt
from holdfast.auditing.asked import Some
from holdfast.auditing.check import Finding, NotRun
from holdfast.auditing.shares import at_least
from holdfast.errors import GradientError
from holdfast.evaluation.auditing.check import of_model
from holdfast.evaluation.auditing.subject import Subject
from holdfast.goals import margin
from holdfast.random import active_stream, hash_seed
from holdfast.tensors import expand, norm
from holdfast.types import Goal, Images, Threat

#: Random points of the inner ball that a binary layer must call the image's own.
_INNER = 24

#: Radius of the inner ball, over that of the ball.
_ETA = 0.95


@of_model(
    "Z",
    "The attack finds adversarial images that were planted",
    limit=0.05,
    fails=0.3,
    why="An attack that misses what is certainly there says nothing where it finds nothing.",
    then="Make the attack stronger, or look for the layer whose gradient lies.",
    weight=30,
)
def finds_what_was_planted(subject: Subject) -> Finding:
    """Zimmermann et al., "Increasing confidence in adversarial robustness evaluations", 2022.

    For each image the last layer is replaced by a linear one that parts the features of random
    points of the inner ball from those of one point on the ball's surface, which so is adversarial.
    The share of images, with 95 % confidence at least, whose point the attack that left fewest
    misses and no random point of the ball finds either; the authors ask for 95 % found.
    """
    if subject.stochastic:
        raise NotRun("the features of a model that draws are no fixed points.")
    last = _last_linear(subject)
    name, attack = subject.leading
    some = subject.some_left(subject.leading_cost() + _INNER + 8, most=8)
    rng = subject.rng(some, "planted")
    inner = [some.x] + [
        type(subject.metric)(_ETA * subject.metric.reach(some.x)).sample(  # type: ignore[call-arg]
            some.x, rng.fold("inner", number)
        )
        for number in range(_INNER - 1)
    ]
    planted = _surface(subject.metric, some, rng.fold("surface").normal(some.x.shape[1:]))
    features = torch.stack([_features(subject, last, x) for x in (*inner, planted)])
    weight, bias, parted = _readout(features)
    if not parted.any():
        raise NotRun("no linear layer parts the planted points from the others.")
    binary = _Binary(subject, last, weight, bias, some.index)
    labels = torch.zeros_like(some.y)
    of_two = rebuilt(attack, {Role.GOAL: _of_two})
    try:
        x_adv = of_two(
            binary, some.x, labels, seed=hash_seed(subject.seed, "planted"), index=some.index
        )
        found = binary.answers(x_adv, some.index) > 0
    except GradientError:
        found = torch.zeros_like(parted)
    missed = int((parted & ~found).sum())
    number = int(parted.sum())
    said = f"{name} missed {missed} of {number} adversarial images that were planted"
    return Finding(at_least(missed, number), said)


def _of_two(goal: Goal) -> Goal:
    """A loss that is defined with two classes."""
    return margin if "dlr" in repr(goal) else goal


def _last_linear(subject: Subject) -> nn.Linear:
    """The layer that makes the logits.

    Raises:
        NotRun: if none does.
    """
    some = subject.some(1, most=1, fewest=1)
    made: list[tuple[nn.Linear, Tensor]] = []
    layers = [layer for layer in subject.bare.modules() if isinstance(layer, nn.Linear)]
    handles = [
        layer.register_forward_hook(lambda layer, _, output: made.append((layer, output)))
        for layer in layers
    ]
    try:
        with torch.no_grad():
            logits = subject.logits(some.x, subject.rng(some, "last"))
    finally:
        for handle in handles:
            handle.remove()
    for layer, output in reversed(made):
        if output.shape == logits.shape and layer.in_features > 2:
            return layer
    raise NotRun("no linear layer makes the logits.")


class _Caught(Exception):  # noqa: N818, no error
    """The features have been seen."""


def _features(subject: Subject, last: nn.Linear, x: Images) -> Tensor:
    """What the last layer is given; with a graph where ``x`` asks for one."""
    caught: list[Tensor] = []

    def catch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0])

    handle = last.register_forward_pre_hook(catch)
    try:
        with torch.set_grad_enabled(x.requires_grad):
            subject.model(x)
    finally:
        handle.remove()
    if not caught:
        raise NotRun("every pass asks a fresh copy, whose features nobody sees.")
    features = caught[-1]
    if features.requires_grad:
        features.register_hook(lambda _: _count(subject, len(x)))
    return features


def _count(subject: Subject, images: int) -> None:
    subject.aside += images


def _surface(threat: Threat, some: Some, draw: Tensor) -> Images:
    """A point on the surface of the ball, cut by the box."""
    way = draw.sign() if threat.p == math.inf else draw / expand(norm(draw, threat.p), draw)
    # Away from the side of the box that is nearer, so that the box cuts little off.
    inward = torch.where(some.x + threat.eps * way > 1, -way.abs(), way)
    inward = torch.where(some.x - threat.eps * way.abs() < 0, way.abs(), inward)
    return threat.project(some.x + threat.reach(some.x) * inward, some.x)


def _readout(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each image the plane, by ridge regression, that parts its last point from the others.

    Args:
        features: (points, N, d), the planted ones last.

    Returns:
        Weights (N, d), biases (N,), and whether the plane parts them.
    """
    points = features.double().transpose(0, 1)  # (N, points, d)
    mean = points[:, :-1].mean(dim=1, keepdim=True)
    centred = points - mean
    scale = centred.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-12)
    centred = centred / scale
    target = torch.full(points.shape[:2], -1.0, dtype=torch.float64, device=points.device)
    target[:, -1] = 1.0
    # In the dual: as many unknowns as there are points.
    gram = centred @ centred.transpose(1, 2) + 1e-3 * torch.eye(points.shape[1]).to(centred)
    weight = (torch.linalg.solve(gram, target[..., None])[..., 0][:, None] @ centred)[:, 0]
    value = (centred @ weight[..., None])[..., 0]
    highest = value[:, :-1].amax(dim=1)
    parted = value[:, -1] > highest
    # Nearer to the planted point, so that random points of the ball do not cross by chance.
    offset = highest + 0.5 * (value[:, -1] - highest)
    unscaled = weight / scale[:, 0]
    return unscaled, -(unscaled * mean[:, 0]).sum(dim=1) - offset, parted


@dataclass(frozen=True, eq=False)
class _Readout:
    """A binary layer for each image."""

    weight: Tensor
    bias: Tensor
    index: Tensor


class _Binary(nn.Module):
    """The model up to its last layer, and behind it the binary layer of each image.

    Which image a row is about is read off the stream that keys the pass.
    """

    def __init__(
        self, subject: Subject, last: nn.Linear, weight: Tensor, bias: Tensor, index: Tensor
    ) -> None:
        super().__init__()
        self.model = subject.bare
        self._asked = lambda x: _features(subject, last, x)
        self._readout = _Readout(weight, bias, index)
        self.eval()

    def forward(self, x: Images) -> Tensor:
        """(N, 2) logits, of which the second is larger at the planted point."""
        stream = active_stream(len(x))
        assert stream is not None, "every pass of an attack is keyed"
        value = self.answers(x, stream.index)
        return torch.stack([-value, value], dim=1).to(x.dtype)

    def answers(self, x: Images, index: Tensor) -> Tensor:
        """(N,) positive on the planted side."""
        known = self._readout
        place = torch.searchsorted(known.index, index.to(known.index))
        return (self._asked(x).double() * known.weight[place]).sum(dim=1) + known.bias[place]
