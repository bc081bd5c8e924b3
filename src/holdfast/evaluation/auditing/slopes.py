"""Checks of the model's gradient: whether it is there, and whether it is the answers' own."""

from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.auditing.asked import Some
from holdfast.auditing.check import Finding, NotRun
from holdfast.auditing.shares import at_least
from holdfast.errors import GradientError
from holdfast.evaluation.auditing.check import of_model
from holdfast.evaluation.auditing.subject import Subject
from holdfast.goals import cross_entropy, margin
from holdfast.gradients import autograd
from holdfast.losses import margin as margin_of
from holdfast.random import Stream
from holdfast.tensors import expand, norm
from holdfast.types import Goal, Images, Slope

#: Lengths of the steps of finite differences, over the ball's radius.
_STEPS = (0.02, 0.1)

#: Random directions of finite differences, beside the steepest.
_DIRECTIONS = 3


def slope(subject: Subject, goal: Goal, x: Images, some: Some, rng: Stream) -> Slope | None:
    """Value and gradient of a goal, past layers whose own is useless; None if there is none.

    Draws are averaged over as attacks do.
    """
    try:
        with subject.going_round(), subject.alone():
            return autograd(goal(subject.model, some.x, some.y))(x, rng)
    except GradientError:
        return None


def _nowhere(found: Slope | None, some: Some) -> Tensor:
    """Which images have no gradient, or one that is 0 or no number."""
    if found is None:
        return torch.ones(len(some), dtype=torch.bool)
    grad = found.grad.flatten(1)
    return ~((grad != 0) & grad.isfinite()).any(dim=1).cpu()


@of_model(
    "I1",
    "The gradient of the margin is there",
    limit=0.05,
    fails=0.2,
    why="Attacks that follow a gradient stand still where it is 0, absent or no number.",
    then="Find the layer that cuts it, and give that a surrogate backward pass (BPDA).",
    weight=1.2,
)
def gradient_is_there(subject: Subject) -> Finding:
    """Pintor et al. 2022, indicator 1; AutoAttack's check of zero gradients.

    The share of images left without a gradient of the margin, at the image or at a random point of
    the ball.
    """
    some = subject.some_left(4 * subject.samples, most=16)
    rng = subject.rng(some, "there")
    drawn = subject.threat.sample(some.x, rng)
    none = torch.zeros(len(some), dtype=torch.bool)
    for number, x in enumerate((some.x, drawn)):
        none |= _nowhere(slope(subject, margin, x, some, rng.fold(number)), some)
    return Finding(
        at_least(int(none.sum()), len(none)),
        f"{int(none.sum())} of {len(none)} images left have no gradient",
    )


@of_model(
    "H-underflow",
    "The cross-entropy fits the scale of the logits",
    limit=0.1,
    fails=0.4,
    why="A saturated softmax has no gradient, and one of tiny logits prefers no class to another.",
    then="Ascend the margin or DLR (goal=margin), or divide the logits.",
    weight=1.2,
)
def loss_has_a_slope(subject: Subject) -> Finding:
    """Carlini and Wagner 2016 on distillation; Tramèr et al. 2020: a loss that fits the defence.

    The share of images left where the gradient of the cross-entropy is 0 or no number, or below
    1e-6 of that of the margin, and that of the margin is not 0. If more, the share of all images
    whose logits are tiny: the softmax gives no class a hundredth more than one who guesses would,
    so that its gradient is the same whatever class is ahead. Moot where another loss was ascended
    as well. If more still, the share of all images whose logits differ by so few of float32's last
    digits that every loss moves in steps.
    """
    scale = _scale(subject)
    some = subject.some_left(4, most=16)
    rng = subject.rng(some, "underflow")
    by_loss = slope(subject, cross_entropy, some.x, some, rng)
    by_margin = slope(subject, margin, some.x, some, rng)
    if by_loss is None or by_margin is None:
        raise NotRun("no gradient reaches the images.")
    length = norm(by_margin.grad.double(), 2)
    faded = ~(norm(by_loss.grad.double(), 2) > 1e-6 * length) & (length > 0)
    found = [
        Finding(
            at_least(int(faded.sum()), len(some)),
            f"the cross-entropy says little about {int(faded.sum())} of {len(some)} images left; "
            f"the largest logit is {scale.largest:.3g}",
        ),
        scale.tiny,
    ]
    worst = max(found, key=lambda one: one.value)
    if worst.value and subject.ledger.losses & {"margin", "dlr"}:
        worst = Finding(0.0, f"{worst.said}; other losses were ascended as well")
    return max(worst, scale.coarse, key=lambda one: one.value)


class _Scale(NamedTuple):
    """What the size of the logits does to losses, on images of all kinds."""

    largest: float
    tiny: Finding
    coarse: Finding


@torch.no_grad()
def _scale(subject: Subject) -> _Scale:
    """Float32 resolves 2⁻²³ of a logit; logits that differ by 2⁻¹³ of theirs take 1000 values."""
    some = subject.some(1, most=16)
    logits = subject.logits(some.x, subject.rng(some, "scale"))
    tiny = int((logits.softmax(dim=1).amax(dim=1) < 1.01 / logits.shape[1]).sum())
    size = logits.abs().amax(dim=1)
    coarse = int((logits.amax(dim=1) - logits.amin(dim=1) < 2**-13 * size).sum())
    return _Scale(
        float(size.max()),
        Finding(
            at_least(tiny, len(some)),
            f"the softmax takes all classes for equal on {tiny} of {len(some)} images; the largest "
            f"logit is {float(size.max()):.3g}",
        ),
        Finding(
            at_least(coarse, len(some)),
            f"the logits of {coarse} of {len(some)} images differ in their last digits alone",
        ),
    )


class _Differences(NamedTuple):
    """Changes of the margin, and what the gradient foretells of them; (directions, N) each."""

    found: Tensor
    foretold: Tensor


@of_model(
    "H-slope",
    "The gradient is that of the answers",
    limit=0.1,
    fails=0.25,
    why="A gradient that is there and points elsewhere leads every attack astray.",
    then="Find the layer whose backward pass is not its own, and use BPDA or transfer.",
    weight=5.5,
)
def agrees_with_differences(subject: Subject) -> Finding:
    """Tramèr et al. 2020: gradients must be right; Carlini et al. 2019, section 5.8.

    The share of images left whose margin does not change as its gradient foretells, along the
    steepest direction of the ball and random ones, forth and back: at the better of two lengths,
    more than half of the change's square is left unexplained.
    """
    if subject.surrogates:
        raise NotRun("a layer's own gradient is not to be used, and attacks go round it.")
    if subject.stochastic and not subject.declares_draws:
        raise NotRun("the model draws without a declaration.")
    asked = 2 + len(_STEPS) * 2 * (1 + _DIRECTIONS)
    some = subject.some_left(asked, most=12)
    rng = subject.rng(some, "slope")
    left_over = torch.stack([_unexplained(subject, some, step, rng) for step in _STEPS])
    lies = left_over.amin(dim=0) > 0.5
    return Finding(
        at_least(int(lies.sum()), len(lies)),
        f"the gradient explains the answers' changes badly for {int(lies.sum())} of {len(lies)} "
        "images left",
    )


def _unexplained(subject: Subject, some: Some, step: float, rng: Stream) -> Tensor:
    """(N,) the part of the squared changes that the gradient does not explain."""
    length = step * subject.metric.reach(some.x)
    x = some.x.clamp(min(length, 0.4), 1 - min(length, 0.4))
    at = slope(subject, margin, x, some, rng)
    if at is None:
        raise NotRun("no gradient reaches the images.")
    ways = [subject.metric.steepest(at.grad)]
    for number in range(_DIRECTIONS):
        drawn = rng.fold("way", number).normal(x.shape[1:], x.dtype)
        way = drawn.sign() if subject.metric.p == torch.inf else drawn
        ways.append(way / expand(norm(way, subject.metric.p), way))
    found, foretold = [], []
    for way in ways:
        with torch.no_grad(), subject.alone():
            ahead = margin_of(subject.logits(x + length * way, rng), some.y)
        with torch.no_grad(), subject.alone():
            behind = margin_of(subject.logits(x - length * way, rng), some.y)
        found.append((ahead - behind).double())
        foretold.append(2 * length * (at.grad * way).flatten(1).sum(dim=1).double())
    changes = _Differences(torch.stack(found), torch.stack(foretold))
    # Each direction in its own scale, so that the steepest does not speak for all.
    scale = changes.found.square().clamp(min=1e-24) + changes.foretold.square()
    error = (changes.found - changes.foretold).square() / scale
    return error.mean(dim=0)


@of_model(
    "I2",
    "Answers hardly change with a tiny change of the image",
    limit=0.3,
    fails=0.7,
    why="Where answers jump, a gradient says nothing about the next point.",
    then="Average the gradient over points nearby, and attack with more queries.",
    weight=2.7,
)
@torch.no_grad()
def stable(subject: Subject) -> Finding:
    """Pintor et al. 2022, indicator 2: unstable predictions.

    The mean of |m(x + δ) - m(x)| / |m(x)|, at most 1 each, of the margin m over 8 draws δ of a
    hundredth of the ball; the authors take the loss, whose own scale is 0 where a model is sure.
    """
    if subject.stochastic:
        raise NotRun("the model draws random numbers.")
    some = subject.some_left(9, most=16)
    rng = subject.rng(some, "stable")
    small = type(subject.metric)(0.01 * subject.metric.reach(some.x))  # type: ignore[call-arg]
    with subject.alone():
        at = margin_of(subject.model(some.x), some.y)
        total = torch.zeros(len(some), dtype=torch.float64)
        for number in range(8):
            there = margin_of(subject.model(small.sample(some.x, rng.fold(number))), some.y)
            change = (there - at).abs() / at.abs().clamp(min=1e-12)
            total += change.clamp(max=1).double().cpu()
    mean = float(total.mean()) / 8
    return Finding(mean, f"a change of eps / 100 moves the margin by {100 * mean:.0f} % of itself")
