"""Checks of the images: whether they have the scale that the model was trained on."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from holdfast.auditing.asked import Some
from holdfast.auditing.check import Finding
from holdfast.auditing.shares import at_least
from holdfast.errors import HoldfastError
from holdfast.evaluation.auditing.check import of_model
from holdfast.evaluation.auditing.subject import Subject
from holdfast.random import Stream
from holdfast.types import Images

#: Levels of an 8-bit file.
_LEVELS = 255


@of_model(
    "H-scale",
    "The images have the scale that the model was trained on",
    limit=0.05,
    fails=0.2,
    why="A wrong or a second normalisation costs accuracy before any attack, and moves eps.",
    then="Put the normalisation into the model once, and give images in [0, 1].",
    weight=1.5,
    overstates=False,
)
@torch.no_grad()
def scale_of_images(subject: Subject) -> Finding:
    """AutoAttack's issue 86, RobustBench's 105: images of 0 to 255, or normalised twice or never.

    By how much the clean accuracy rises at least, with 95 % confidence, on images times 255,
    divided by 255, normalised by their own mean and deviation, or the reverse of that.
    """
    some = subject.some(5)
    flat = some.x.transpose(0, 1).flatten(1)
    shape = (1, -1, *[1] * (some.x.dim() - 2))
    mean, std = flat.mean(dim=1).view(shape), flat.std(dim=1).clamp(min=1e-6).view(shape)
    scales: dict[str, Callable[[Images], Images]] = {
        "times 255": lambda x: _LEVELS * x,
        "divided by 255": lambda x: x / _LEVELS,
        "normalised": lambda x: (x - mean) / std,
        "with a normalisation undone": lambda x: x * std + mean,
    }
    rng = subject.rng(some, "scale")
    right = _right(subject, some.x, some, rng)
    best, how = 0.0, ""
    for name, scale in scales.items():
        try:
            other = _right(subject, scale(some.x), some, rng)
        except HoldfastError:  # a model may refuse what is not in [0, 1]
            continue
        gained, lost = int((other & ~right).sum()), int((right & ~other).sum())
        rise = at_least(max(0, gained - lost), len(some))
        if rise > best:
            best, how = rise, f"{gained} more of {len(some)} images are right {name}"
    return Finding(best, how or "no other scale gives a higher accuracy")


def _right(subject: Subject, x: Images, some: Some, rng: Stream) -> Tensor:
    with subject.alone():
        return subject.logits(x, rng).argmax(dim=1) == some.y


@of_model(
    "H-normalised-once",
    "The images are normalised once",
    limit=1,
    why="Normalising twice shrinks or stretches eps, and costs accuracy.",
    then="Leave one of the normalisations out.",
    weight=0.05,
    overstates=False,
)
def normalised_once(subject: Subject) -> Finding:
    """Double normalisation: how many layers of that name stand in the model."""
    layers = [layer for layer in subject.bare.modules() if _normalises(layer)]
    return Finding(len(layers), f"{len(layers)} layers normalise the images")


def _normalises(layer: nn.Module) -> bool:
    return type(layer).__name__ in ("Normalize", "Normalise", "ImageNormalizer", "NormalizeLayer")


@of_model(
    "H-range",
    "The images fill the range [0, 1]",
    limit=0.9,
    fails=0.98,
    why="Images that were divided by 255 twice leave eps larger than themselves.",
    then="Scale the images to [0, 1].",
    weight=0.05,
    overstates=False,
)
def range_of_images(subject: Subject) -> Finding:
    """Images that look like 0 to 255 are refused at once; here those that shrank on the way.

    1 less the difference between the largest and the smallest pixel of all images at hand.
    """
    low, high = (float(value) for value in subject.any.x.aminmax())
    return Finding(1 - (high - low), f"pixels lie between {low:.3g} and {high:.3g}")
