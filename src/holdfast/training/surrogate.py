"""Black box by a model of the target: train a network on the target's answers, then attack `On` it.

    student, queries = distill(target, x, Architecture(...), Schedule(epochs=20))
    attack = On(student, PGD(Linf(0.3)), name="student")

Only predicted classes are asked for, as in EAT definition 4, y = argmax h(x), and every answer is
counted.
"""

from typing import NamedTuple

import torch
from torch import nn

from holdfast.checks import check_images, warn_if_training
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.goals import cross_entropy
from holdfast.gradients import autograd
from holdfast.models.registry import Architecture
from holdfast.parameters import Seed, at_least_one
from holdfast.progress import Progress, silent
from holdfast.random import Stream
from holdfast.tensors import device_of, eval_mode
from holdfast.threads import suited_threads
from holdfast.training.objectives.standard import Standard
from holdfast.training.run import train_data
from holdfast.training.schedule import Schedule
from holdfast.types import Images, Labels, Model
from holdfast.votes import take_votes

__all__ = ["Surrogate", "distill", "substitute"]


class Surrogate(NamedTuple):
    """A network trained on a target's answers, and what the answers cost.

    Example:
        >>> from holdfast.training import Surrogate
        >>> Surrogate(model, queries=1000).queries
        1000
    """

    model: nn.Module  # in evaluation mode, on the target's device
    queries: int  # images that passed through the target


def distill(
    target: Model,
    x: Images,
    student: Architecture,
    schedule: Schedule,
    *,
    votes: int = 1,
    progress: Progress = silent,
) -> Surrogate:
    """Distillation: fit a student to the classes that the target predicts for given images.

    Args:
        target: the model under attack; run in evaluation mode and left as it was.
        x: (N, C, H, W) images in [0, 1], such as the target's training set.
        student: what to train; it may differ from the target's own architecture.
        schedule: how to train it; its seed is the seed of everything.
        votes: draws for each answer of a stochastic target; each is a query.
        progress: told about every batch.

    Returns:
        The student, and the number of queries: N · votes.

    Raises:
        InputError: if the images leave [0, 1] or the student has fewer classes than the answers.

    Reference:
        Papernot et al., "Transferability in machine learning", 2016; MALADE section 2.1.3.

    Example:
        >>> from holdfast.models import Architecture
        >>> from holdfast.training import Schedule, distill
        >>> student = Architecture(name="small", shape=(1, 8, 8), classes=3)
        >>> surrogate, queries = distill(model, x, student, Schedule(epochs=1, batch_size=4))
        >>> surrogate(x).shape, queries
        (torch.Size([4, 3]), 4)
    """
    y = _ask(target, x, 0, schedule.seed, votes)
    model = _train(student, x, y, schedule, progress)
    return Surrogate(model.to(device_of(target)), len(x) * votes)


def substitute(
    target: Model,
    x: Images,
    student: Architecture,
    schedule: Schedule,
    *,
    rounds: int = 6,
    step: float = 0.1,
    votes: int = 1,
    progress: Progress = silent,
) -> Surrogate:
    """Substitute training: Jacobian-based augmentation of a few images, labelled by the target.

        S_{ρ+1} = S_ρ ∪ {x + λ · sign(∂F_ỹ(x) / ∂x) : x ∈ S_ρ}, ỹ the target's answer for x

    with F the substitute that round ρ has trained. Only the new images are asked about.

    Args:
        target: the model under attack; run in evaluation mode and left as it was.
        x: (N, C, H, W) the first images S_0, in [0, 1]; a few of each class.
        student: what to train.
        schedule: how to train it in every round; its seed is the seed of everything.
        rounds: of training, at least 1; the images double between two.
        step: λ on the [0, 1] scale, 0.1 in the paper; the new images are cut to [0, 1].
        votes: draws for each answer of a stochastic target; each is a query.
        progress: told about every batch.

    Returns:
        The last round's substitute, and the number of queries: N · 2^(rounds - 1) · votes.

    Raises:
        InputError: if the images leave [0, 1], the student has fewer classes than the answers, or
            rounds is below 1.

    Reference:
        Papernot et al., "Practical black-box attacks against machine learning", ASIA CCS 2017,
        algorithm 1. Differs from the paper in that each round trains from fresh weights, so that
        the result does not hang on what earlier rounds forgot; there is no reservoir sampling.

    Example:
        >>> from holdfast.models import Architecture
        >>> from holdfast.training import Schedule, substitute
        >>> student = Architecture(name="small", shape=(1, 8, 8), classes=3)
        >>> _, queries = substitute(model, x, student, Schedule(epochs=1, batch_size=8), rounds=2)
        >>> queries
        8
    """
    at_least_one(rounds=rounds)
    x = x.detach()
    y = _ask(target, x, 0, schedule.seed, votes)
    for done in range(1, rounds + 1):
        model = _train(student, x, y, schedule, progress).to(device_of(target))
        if done < rounds:
            more = _augment(model, x, y, step, schedule.batch_size)
            answers = _ask(target, more, len(x), schedule.seed, votes)
            x, y = torch.cat([x, more]), torch.cat([y, answers])
    return Surrogate(model, len(x) * votes)


def _ask(target: Model, x: Images, first: int, seed: Seed, votes: int) -> Labels:
    """The target's predictions for images that are numbered from ``first``."""
    check_images(x)
    warn_if_training(target)
    x = x.to(device_of(target))
    index = torch.arange(first, first + len(x), device=x.device)
    with eval_mode(target, images=x.dtype), suited_threads(tuple(x.shape[1:]), target):
        counts = take_votes(target, x, Stream.of(seed, index).fold("queries"), n=votes).counts
    return counts.argmax(dim=1)


def _train(
    student: Architecture, x: Images, y: Labels, schedule: Schedule, progress: Progress
) -> nn.Module:
    if int(y.max()) >= student.classes:
        raise InputError(
            f"the target answers class {int(y.max())}, but the student has only {student.classes} "
            "classes; give it as many as the target."
        )
    return train_data(student, Data.of(x.float(), y), Standard(), schedule, progress=progress)


def _augment(model: Model, x: Images, y: Labels, step: float, batch_size: int) -> Images:
    """One new image for each: the substitute's answer moved along ỹ's own gradient."""
    parts = []
    with suited_threads(tuple(x.shape[1:]), model):
        for index in torch.arange(len(x)).split(batch_size):
            batch, labels = x[index].float().to(device_of(model)), y[index]
            slope = autograd(cross_entropy(model, batch, labels))
            # The logarithm of F_ỹ is -cross-entropy: its gradient has the sign of the Jacobian's
            # row.
            grad = slope(batch, Stream.of(0, index.to(batch.device))).grad
            parts.append((batch - step * grad.sign()).clamp(0, 1).to(x))
    return torch.cat(parts)
