"""An ascent repeated: with fresh randomness, or towards one class after another."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.hyperplane import nearest_first, ranked_classes
from holdfast.attacks.engine.queries import query
from holdfast.attacks.engine.roles import Votes
from holdfast.goals import leave_toward_dlr, logits_of
from holdfast.parameters import at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.types import (
    Callback,
    Goal,
    Images,
    Labels,
    Model,
    Positions,
    Score,
    Step,
    TargetedGoal,
    Threat,
)

__all__ = ["EachTarget", "Restarts"]

#: The likeliest other classes among which the nearest are looked for.
RANKED = 9


@dataclass(frozen=True, kw_only=True)
class Restarts(Climb):
    """Run an ascent again, with fresh randomness, on the images that have not reached its goal.

    Attributes:
        attack: the ascent to repeat.
        count: number of runs, at least 1.
        votes: draws whose majority says whether an image has reached it, at least 1.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import Ascent, Restarts, in_ball
        >>> ascent = Ascent(threat=Linf(0.3), steps=5, step_size=0.1, start=in_ball)
        >>> x_adv = Restarts(ascent, count=3)(model, x, y, seed=0)
        >>> bool((x_adv - x).abs().max() <= 0.3)
        True
    """

    attack: Climb = field(kw_only=False)
    count: int
    votes: Votes = field(default=1, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(restarts=self.count)

    @property
    def threat(self) -> Threat:
        """That of the ascent."""
        return self.attack.threat

    @property
    def goal(self) -> Goal:
        """That of the ascent."""
        return self.attack.goal

    def climb(
        self, score: Score, x0: Images, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Climb ``count`` times; see `Climb.climb`."""
        return _in_turn(self.attack, [score] * self.count, x0, rng, self.votes, callback)


def repeated(attack: Climb, count: int, votes: int) -> Climb:
    """The ascent itself where it runs once, else its `Restarts`.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.attacks.engine.repeat import repeated
        >>> attack = PGD(Linf(0.3))
        >>> repeated(attack, 1, votes=1) is attack, type(repeated(attack, 5, votes=1)).__name__
        (True, 'Restarts')
    """
    return attack if count == 1 else Restarts(attack, count=count, votes=votes)


@dataclass(frozen=True, kw_only=True)
class EachTarget(Attack):
    """Take the likeliest other classes on the clean image for targets, one after another.

    Each ascent takes on the images that the earlier ones left robust, and an image is done with
    wherever it leaves its class.

    With ``nearest`` the targets are those of the nine likeliest whose boundaries a linear model of
    the network puts nearest: what separates the logits, over the norm of the gradient of that
    difference. A few such targets do what nine likely ones do.

    Attributes:
        attack: the ascent to repeat; its goal plays no part.
        targets: number of classes, at least 1; all others if the model has fewer.
        goal: what to ascend towards each class.
        restarts: runs for each class, at least 1.
        nearest: rank the classes by their distance instead; costs a forward and nine backward
            passes.
        votes: draws whose majority says whether an image has left its class, at least 1.

    Reference:
        Gowal et al., "An alternative surrogate loss for PGD-based adversarial testing", 2019, with
        every other class; Croce and Hein 2020, with the nine likeliest, as APGD-T; Melamed et al.,
        "MALT powers up adversarial attacks", NeurIPS 2024, with the nearest.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import EachTarget, PGD
        >>> x_adv = EachTarget(PGD(Linf(0.3), steps=10), targets=2)(model, x, y, seed=0)
        >>> int((model(x_adv).argmax(dim=1) == y).sum())
        0
    """

    attack: Climb = field(kw_only=False)
    targets: int = 9
    goal: TargetedGoal = leave_toward_dlr
    restarts: int = 1
    nearest: bool = False
    votes: Votes = field(default=1, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(targets=self.targets, restarts=self.restarts)

    @property
    def threat(self) -> Threat:
        """That of the ascent."""
        return self.attack.threat

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Rank the other classes once, then ascend towards each; see `Attack.perturb`."""
        with torch.no_grad(), drawing_from(rng.fold("goal")):
            ranked = ranked_classes(logits_of(model, x0), y)
        if self.nearest and ranked.shape[1] > 1:
            near = ranked[:, : max(RANKED, self.targets)]
            ranked = nearest_first(model, x0, y, near, p=self.threat.p, rng=rng.fold("nearest"))
        scores = [
            self.goal(model, x0, y, target)
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
    result, at = x0.clone(), _Left(x0, rng)
    for run, score in enumerate(scores):
        mine, stream = score.take(at.position), at.rng.fold("restart", run)
        watch = placed(callback, at.position, f"run {run + 1} of {len(scores)}")
        found = attack.climb(mine, at.x0, stream, watch)
        at.scatter(result, found)
        if run + 1 == len(scores):
            break
        check, reached = stream.fold("check"), torch.zeros_like(at.position)
        for vote in range(votes):
            reached += query(mine, found, check.copies(vote, vote + 1)).reached
        at.keep(2 * reached <= votes)
        if not len(at):
            break
    return result


@dataclass(eq=False)
class _Left(Active):
    """The images for which no score was reached."""

    x0: Images
    rng: Stream


def placed(callback: Callback | None, position: Positions, stage: str) -> Callback | None:
    """A callback that is told places in the whole batch, though only part of it is attacked.

    Args:
        callback: is told also which ``stage`` of the attack it is, before what that itself says.
        position: of the images that are attacked.
        stage: of the attack.

    Example:
        >>> from holdfast.attacks.engine.repeat import placed
        >>> placed(None, torch.arange(4), "run 1") is None
        True
    """
    if callback is None:
        return None

    def told(step: Step) -> None:
        names = f"{stage}, {step.stage}" if step.stage else stage
        callback(step._replace(position=position[step.position], stage=names))

    return told
