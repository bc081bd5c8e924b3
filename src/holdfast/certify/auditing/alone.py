"""Whether a vote hangs on its own draw alone, as every limit of votes takes for granted."""

import torch
from torch import Tensor

from holdfast.auditing.check import Finding, NotRun
from holdfast.certify.auditing.asked import reproducible
from holdfast.certify.auditing.check import of_model
from holdfast.certify.auditing.subject import Subject
from holdfast.declarations import purifiers
from holdfast.goals import logits_of
from holdfast.random import drawing_from
from holdfast.types import Model

#: Draws of each image, and images at the most, which are one batch together.
_DRAWS, _IMAGES = 16, 8


@of_model(
    "S-alone",
    "A vote hangs on its own draw alone",
    limit=0.01,
    fails=0.02,
    why="Limits are of independent votes; what remembers, or looks at its batch, gives no such.",
    then="Leave statistics of the batch and memory out at test time, and certify again.",
    weight=1,
)
@torch.no_grad()
def asked_alone(subject: Subject) -> Finding:
    """How far the answers to the same draws lie apart, in total variation, on average.

    Asked in one batch, and two by two in the reverse order, each by a copy that nobody has asked
    before.
    """
    reproducible(subject)
    if purifiers(subject.network):
        raise NotRun("a chain that purifies may hang on the last digits, and these on the batch.")
    some = subject.some(2 * _DRAWS, most=_IMAGES, fewest=1)
    draws = subject.rng(some, "alone").copies(0, _DRAWS)
    x = some.x.repeat(_DRAWS, *[1] * (some.x.dim() - 1))

    def answers(model: Model, place: Tensor) -> Tensor:
        with drawing_from(draws.take(place)):
            return logits_of(model, x[place]).softmax(dim=1)

    order = torch.arange(len(x), device=x.device)
    together, model = answers(subject.unasked(), order), subject.unasked()
    apart = torch.cat([answers(model, place) for place in order.flip(0).split(2)]).flip(0)
    subject.aside += 2 * len(x)
    far = float((together - apart).abs().sum(dim=1).mean() / 2)
    return Finding(
        far,
        f"asked two by two, in the reverse order, {len(x)} draws have answers that are "
        f"{100 * far:.2g} % apart from those in one batch",
    )
