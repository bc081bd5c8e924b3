"""An ascent repeated: with fresh randomness, or towards one class after another."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.queries import query
from holdfast.errors import InputError
from holdfast.goals import LeaveToward, TargetedLoss, logits_of
from holdfast.losses import towards_dlr
from holdfast.random import Stream, drawing_from
from holdfast.types import Callback, Images, Labels, Model, Score, Threat


@dataclass(frozen=True, kw_only=True)
class Restarts(Attack):
    """Run an ascent again, with fresh randomness, on the images that have not reached its goal.

    Attributes:
        attack: the ascent to repeat.
        count: number of runs, at least 1.
        votes: draws whose majority says whether an image has reached it, at least 1.
    """

    attack: Climb
    count: int
    votes: int = field(default=1, repr=False)
    threat: Threat = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count < 1:
            raise InputError(f"restarts is {self.count}, but an attack runs at least once.")
        object.__setattr__(self, "threat", self.attack.threat)

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Run the attack ``count`` times; see `Attack.perturb`."""
        with drawing_from(rng.fold("goal")):
            score = self.attack.goal(model, x0, y)
        return _in_turn(self.attack, [score] * self.count, x0, rng, self.votes, callback)


@dataclass(frozen=True, kw_only=True, repr=False)
class EachTarget(Attack):
    """Make for the likeliest other classes on the clean image, one after another.

    Each ascent takes on the images that the earlier ones left standing, and an image is done with
    wherever it leaves its class.

    Attributes:
        attack: the ascent to repeat; its goal plays no part.
        targets: number of classes, at least 1; all others if the model has fewer.
        loss: what to ascend, of ``losses.towards_...``.
        restarts: runs for each class, at least 1.
        votes: draws whose majority says whether an image has left its class, at least 1.

    Reference:
        Gowal et al., "An alternative surrogate loss for PGD-based adversarial testing", 2019, with
        every other class; Croce and Hein 2020, with the nine likeliest, as APGD-T.
    """

    attack: Climb
    targets: int = 9
    loss: TargetedLoss = towards_dlr
    restarts: int = 1
    votes: int = field(default=1, repr=False)
    threat: Threat = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targets < 1:
            raise InputError(f"targets is {self.targets}, but there is at least 1 to make for.")
        if self.restarts < 1:
            raise InputError(f"restarts is {self.restarts}, but an attack runs at least once.")
        object.__setattr__(self, "threat", self.attack.threat)

    def __repr__(self) -> str:
        # The loss by its name: Python's own repr of a function is another in every process.
        return (
            f"EachTarget(attack={self.attack}, targets={self.targets}, "
            f"loss={self.loss.__name__}, restarts={self.restarts})"
        )

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Rank the other classes once, then ascend towards each; see `Attack.perturb`."""
        with torch.no_grad(), drawing_from(rng.fold("goal")):
            others = logits_of(model, x0).scatter(1, y[:, None], -torch.inf)
        ranked = others.argsort(dim=1, descending=True, stable=True)[:, : others.shape[1] - 1]
        scores = [
            LeaveToward(model, self.loss, y, target)
            for target in ranked[:, : self.targets].T
            for _ in range(self.restarts)
        ]
        return _in_turn(self.attack, scores, x0, rng, self.votes, callback)


def _in_turn(
    attack: Climb,
    scores: Sequence[Score],
    x0: Images,
    rng: Stream,
    votes: int,
    callback: Callback | None,
) -> Images:
    """Climb each score, on the images for which no earlier one was reached."""
    result = x0.clone()
    standing = torch.arange(len(x0), device=x0.device)
    for run, score in enumerate(scores):
        left = rng.take(standing).fold("restart", run)
        watch = None if callback is None else placed(callback, standing)
        found = attack.climb(score.take(standing), x0[standing], left, watch)
        result[standing] = found
        if run + 1 == len(scores):
            break
        check, reached = left.fold("check"), torch.zeros_like(standing)
        for vote in range(votes):
            reached += query(score.take(standing), found, check.copies(vote, vote + 1)).reached
        standing = standing[2 * reached <= votes]
        if not len(standing):
            break
    return result


def placed(callback: Callback, standing: Tensor) -> Callback:
    """A callback that is told places in the whole batch, though only part of it is attacked."""
    return lambda step: callback(step._replace(position=standing[step.position]))
