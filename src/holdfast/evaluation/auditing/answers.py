"""Checks of what the model answers: the same again, alone, in company, on a grid, on its scale."""

from collections.abc import Callable

import torch
from torch import Tensor

from holdfast.auditing.check import Finding, NotRun
from holdfast.auditing.fresh import fresh
from holdfast.checks import probability_notes
from holdfast.declarations import purifiers
from holdfast.evaluation.auditing.check import of_model
from holdfast.evaluation.auditing.subject import Subject
from holdfast.evaluation.hidden.asking import on_grid
from holdfast.losses import margin
from holdfast.types import Logits

#: Difference between logits, over their spread, that rounding does not explain.
_APART = 1e-3

#: Levels of an 8-bit file.
_LEVELS = 255


def apart(one: Logits, other: Logits) -> Tensor:
    """(N,) the largest difference of each image's logits, over their spread."""
    spread = one.amax(dim=1) - one.amin(dim=1)
    return (one - other).abs().amax(dim=1) / spread.clamp(min=1e-12)


def _share(apart: Tensor, what: str) -> Finding:
    """The share of images whose logits differ."""
    differ = apart > _APART
    number = int(differ.sum())
    return Finding(number / len(differ), f"{what} for {number} of {len(differ)} images")


def _undrawn(subject: Subject) -> None:
    """Nothing more is to be learnt from two answers that differ where the model draws."""
    if subject.stochastic:
        raise NotRun("the model draws random numbers.")


@of_model(
    "C15",
    "The same images get the same answers, or a layer says that it draws",
    limit=0.0,
    why="Attacks on a model that draws must average over its draws, and votes decide.",
    then="Set stochastic = True on the layer that draws.",
    weight=1.5,
)
@torch.no_grad()
def repeatable(subject: Subject) -> Finding:
    """Carlini et al. 2019, section 5.4; AutoAttack's flag ``randomized``: forwards that differ.

    The share of images whose logits differ over five passes, in evaluation mode.
    """
    if subject.declares_draws:
        raise NotRun("a layer declares that it draws.")
    some = subject.some(5)
    with subject.alone():
        first = subject.model(some.x)
        others = [subject.model(some.x) for _ in range(4)]
    worst = torch.stack([apart(first, other) for other in others]).amax(dim=0)
    return _share(worst, "without a declaration, answers differ from pass to pass")


@of_model(
    "H-declared",
    "Layers that say that they draw do draw",
    limit=0.0,
    why="A layer that declares what it does not do costs passes and hides what it does.",
    then="Take the declaration away.",
    weight=1.2,
    overstates=False,
)
@torch.no_grad()
def draws_as_declared(subject: Subject) -> Finding:
    """Declared against observed: 1 if the draws that a layer declares change no logit."""
    if not subject.declares_draws:
        raise NotRun("no layer declares that it draws.")
    some = subject.some(4)
    rng = subject.rng(some, "declared")
    answers = [subject.logits(some.x, rng.fold("draw", number)) for number in range(4)]
    same = all(torch.equal(answers[0], other) for other in answers[1:])
    said = "the declared draws change" + (" no logit" if same else " the logits")
    return Finding(float(same), said)


@of_model(
    "H-company",
    "An image's answer does not hang on its neighbours in the batch",
    limit=0.0,
    fails=0.25,
    why="Attacks and evaluation see other batches than the model will, and gradients mix images.",
    then="Freeze the batch's statistics (BatchNorm in evaluation mode), or evaluate batches of 1.",
    weight=0.9,
)
@torch.no_grad()
def apart_from_neighbours(subject: Subject) -> Finding:
    """BatchNorm that normalises by the batch's own statistics when it is tested.

    The share of images whose logits alone differ from those in a batch.
    """
    _undrawn(subject)
    some = subject.some(4, most=16)
    with subject.alone():
        together = subject.model(some.x)
        halves = torch.cat([subject.model(half) for half in some.x.split(2)])
        reversed_ = subject.model(some.x.flip(0)).flip(0)
    worst = torch.maximum(apart(together, halves), apart(together, reversed_))
    return _share(worst, "answers in other company differ")


@of_model(
    "H-memory",
    "The model answers the same after other questions",
    limit=0.0,
    fails=0.25,
    why="A model that remembers questions answers an attacker otherwise than its users.",
    then="Evaluate a fresh copy for each image, and say what the memory is for.",
    weight=4.5,
)
@torch.no_grad()
def forgets(subject: Subject) -> Finding:
    """Caches, and detectors of queries that resemble each other.

    The share of images whose logits differ after 12 questions about points near them, or from what
    a copy of the model, where it can be copied, answers that was asked about no such point.
    """
    _undrawn(subject)
    some = subject.some(15, most=8)
    rng = subject.rng(some, "near")
    near = [
        (some.x + 0.02 * (rng.fold(number).uniform(some.x.shape[1:]) - 0.5)).clamp(0, 1)
        for number in range(12)
    ]
    with subject.alone():
        twin = fresh(subject.bare)
        first = subject.model(some.x)
        for x in near:
            answered = subject.model(x)
        again = subject.model(some.x)
        subject.aside += len(some)
        worst = torch.maximum(apart(first, again), apart(twin(near[-1]), answered))
    return _share(worst, "after questions about points nearby, answers differ")


@of_model(
    "H-repeats",
    "The model answers what it answered when it was evaluated",
    limit=0.02,
    fails=0.1,
    why="A model that changes between calls was never evaluated.",
    then="Find what it remembers or reads, and evaluate it again.",
    weight=0.9,
    overstates=False,
)
def as_it_was(subject: Subject) -> Finding:
    """The rows of the unattacked images, asked again: the share of other predictions."""
    if subject.stochastic:
        raise NotRun("the model draws random numbers.")
    some = subject.some(3)
    with subject.alone():
        now = subject.predictions(some.x, subject.rng(some, "again"))
    then = subject.ledger.clean["prediction"][some.index.numpy()].to_numpy()
    changed = int((now.cpu().numpy() != then).sum())
    return Finding(
        changed / len(some),
        f"{changed} of {len(some)} unattacked images are answered otherwise now",
    )


@of_model(
    "A-probabilities",
    "The model returns logits",
    limit=0.0,
    why="The cross-entropy takes the softmax of probabilities again, and its gradient fades.",
    then="Return the logits, or the logarithm of the probabilities.",
    weight=0.3,
)
@torch.no_grad()
def logits_not_probabilities(subject: Subject) -> Finding:
    """AutoAttack's flag ``softmax``: outputs in [0, 1] that sum to 1."""
    some = subject.some(1)
    found = probability_notes(subject.logits(some.x, subject.rng(some, "logits")), "")
    said = "the outputs are in [0, 1] and sum to 1" if found else "the outputs are logits"
    return Finding(float(bool(found)), said)


@of_model(
    "A-dynamic",
    "The model does not optimise while it answers",
    limit=0.0,
    why="What a model works out from each image while it answers, a plain gradient does not see.",
    then="Set purifies = True on the layer, or attack through its steps.",
    weight=0.2,
)
def no_gradient_inside(subject: Subject) -> Finding:
    """AutoAttack's flag ``dynamic``: a gradient is taken within the forward pass.

    1 if one is, and no layer declares that it purifies.
    """
    if purifiers(subject.bare):
        raise NotRun("a layer declares that it purifies.")
    some = subject.some(1, most=2, fewest=1)
    called: list[str] = []
    grad, backward = torch.autograd.grad, Tensor.backward
    try:
        torch.autograd.grad = _told(grad, called)  # type: ignore[assignment]
        Tensor.backward = _told(backward, called)  # type: ignore[method-assign]
        subject.logits(some.x, subject.rng(some, "dynamic"))
    finally:
        torch.autograd.grad = grad
        Tensor.backward = backward  # type: ignore[method-assign]
    said = "the forward pass takes gradients" if called else "the forward pass takes no gradient"
    return Finding(float(bool(called)), said)


@of_model(
    "A-classes",
    "There are classes enough for every loss",
    limit=0.0,
    why="DLR needs three classes and its targeted form four: with fewer another loss stands in.",
    then="Read APGD-T's results as those of the margin.",
    weight=0.1,
    overstates=False,
)
@torch.no_grad()
def classes_enough(subject: Subject) -> Finding:
    """AutoAttack's check of the number of classes; here losses fall back, so it passes with 2.

    How many classes are missing of those that the labels name.
    """
    some = subject.some(1, most=1, fewest=1)
    classes = subject.logits(some.x, subject.rng(some, "classes")).shape[1]
    missing = max(0, subject.ledger.classes - classes)
    return Finding(missing, f"the model has {classes} classes, the images {subject.ledger.classes}")


@of_model(
    "T-same",
    "What is attacked is what is scored",
    limit=0.0,
    fails=0.0,
    why="A model that answers otherwise while gradients are taken hides behind that.",
    then="Find what asks whether gradients are enabled.",
    weight=0.6,
)
def same_with_gradients(subject: Subject) -> Finding:
    """Tramèr et al. 2020: attack the defence end to end, the very object that is evaluated.

    The share of images whose logits with gradients enabled are not those without.
    """
    some = subject.some(2, most=16)
    rng = subject.rng(some, "same")
    with subject.alone(), torch.no_grad():
        without = subject.logits(some.x, rng)
    with subject.alone(), torch.enable_grad():
        with_ = subject.logits(some.x.clone().requires_grad_(), rng).detach()
    if subject.stochastic and not subject.declares_draws:
        raise NotRun("the model draws without a declaration.")
    return _share(apart(without, with_), "logits with gradients enabled differ")


@of_model(
    "H-grid",
    "Images off the 8-bit grid are answered like those on it",
    limit=3.0,
    fails=8.0,
    why="Attacks move in floating point, users send 8-bit files: what differs is met by neither.",
    then="Round to the grid inside the attack, and give the rounding the identity's gradient.",
    weight=2.7,
)
@torch.no_grad()
def smooth_between_levels(subject: Subject) -> Finding:
    """Noise or a mask that is there only where a pixel is no multiple of 1/255.

    How much the margin changes 0.4 levels off the grid, over the change 1 level along it.
    """
    _undrawn(subject)
    some = subject.some(9, most=16)
    base = on_grid(some.x.clamp(2 / _LEVELS, 1 - 2 / _LEVELS))
    rng = subject.rng(some, "grid")
    with subject.alone():
        at = margin(subject.model(base), some.y)

        def change(length: float) -> float:
            total = 0.0
            for number in range(4):
                sign = (rng.fold("sign", number).uniform(some.x.shape[1:]) < 0.5).to(base) * 2 - 1
                moved = margin(subject.model(base + sign * length / _LEVELS), some.y)
                total += float((moved - at).abs().mean())
            return total

        off, along = change(0.4), change(1.0)
    ratio = off / max(along, 1e-9) if off > 1e-9 else 0.0
    return Finding(
        ratio, f"0.4 levels off the grid the margin changes {ratio:.2g} times as much as"
    )


def _told(function: Callable[..., object], called: list[str]) -> Callable[..., object]:
    def told(*args: object, **kwargs: object) -> object:
        called.append(function.__name__)
        return function(*args, **kwargs)

    return told
