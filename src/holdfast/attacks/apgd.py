"""APGD: an ascent that chooses its own step sizes, and its targeted form.

The same loop serves every norm; how it moves is in `holdfast.attacks.engine.step_sizes`.
"""

from dataclasses import dataclass, field

import torch

from holdfast.attacks.engine.active import Active, Tree
from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.preset import Composed, Preset
from holdfast.attacks.engine.repeat import EachTarget, repeated
from holdfast.attacks.engine.roles import EarlyStop, Votes
from holdfast.attacks.engine.starts import Start, at_image, in_ball
from holdfast.attacks.engine.step_sizes import Annealing, Best, Halving, Sparsifying, StepSizes
from holdfast.errors import InputError
from holdfast.goals import cross_entropy, leave_toward_dlr
from holdfast.gradients import autograd
from holdfast.parameters import at_least_one
from holdfast.random import Stream
from holdfast.tensors import expand
from holdfast.threat import L1
from holdfast.types import (
    Balls,
    Callback,
    Goal,
    Gradient,
    Images,
    PerExample,
    Score,
    Step,
    TargetedGoal,
    Threat,
)

__all__ = ["APGD", "APGDT", "AdaptiveAscent"]


@dataclass(frozen=True, kw_only=True)
class AdaptiveAscent(Climb):
    """APGD: ascend with steps that shorten where they stop paying, and keep the best point.

    In ℓ∞ and ℓ2 the moves are `Halving`, in ℓ1 the sparse ones of `Sparsifying`, both in
    `holdfast.attacks.engine.step_sizes`; in ℓ1 30 % of the steps are spent in the ball of 3 ε, 30 %
    in that of 2 ε and the rest in that of ε, each from the best point of the one before.

    Differs from the published code: the checkpoints are those of the paper's formula for any number
    of steps, where the code rounds the gaps between them; and an ℓ1 ascent may begin at the image,
    where the code begins at projected Gaussian noise.

    Attributes:
        threat: the ball to stay in.
        steps: number of moves, at least 1. The points before and after each are looked at, so the
            attack costs ``steps`` + 1 gradients; in ℓ1, where three ascents follow each other, two
            more.
        start: where to begin.
        goal: what to ascend.
        gradient: how to estimate its gradient.
        annealed: shorten the steps by a cosine instead, as `Annealing` does; in ℓ∞ and ℓ2 only.
        early_stop: return each image at its first iterate that reaches the goal and spend nothing
            more on it; otherwise spend all steps and return the point of the largest score.

    Reference:
        Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks", ICML 2020, algorithm 1; Croce and Hein, "Mind the box: l1-APGD for
        sparse adversarial attacks on image classifiers", ICML 2021, section 3.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import AdaptiveAscent, in_ball
        >>> ascent = AdaptiveAscent(threat=L2(1.0), steps=10, start=in_ball, early_stop=False)
        >>> x_adv = ascent(model, x, y, seed=0)
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> bool(loss(model(x_adv), y) > loss(model(x), y))
        True
    """

    threat: Threat
    steps: int
    start: Start = at_image
    goal: Goal = cross_entropy
    gradient: Gradient = autograd
    annealed: bool = False
    early_stop: EarlyStop = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(steps=self.steps)
        if self.annealed and self.threat.p == 1:
            raise InputError("annealed steps are defined in linf and l2, but not in l1.")

    def climb(
        self, score: Score, x0: Images, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Ascend a score that has been stated already; see `Climb.climb`."""
        stages = self._stages()
        x = self.start(x0, stages[0][0], rng.fold("start"))
        for stage, (threat, steps) in enumerate(stages):
            x = threat.project(x, x0)
            x = self._ascend(score, threat, steps, x, x0, rng.fold("stage", stage), callback)
        return x

    def _stages(self) -> list[tuple[Threat, int]]:
        """Balls and how many steps to spend in each; the last is the threat itself."""
        wide = 3 * self.steps // 10 if self.threat.p == 1 else 0
        larger: list[tuple[Threat, int]] = [
            (L1(scale * self.threat.eps), wide) for scale in (3, 2) if wide
        ]
        return [*larger, (self.threat, self.steps - len(larger) * wide)]

    def _step_sizes(self, threat: Threat, steps: int) -> StepSizes:
        if threat.p == 1:
            return Sparsifying(threat, steps)
        return (Annealing if self.annealed else Halving)(threat, steps)

    def _ascend(
        self,
        score: Score,
        threat: Threat,
        steps: int,
        x: Images,
        x0: Images,
        rng: Stream,
        callback: Callback | None,
    ) -> Images:
        """Climb from ``x`` on, in one ball."""
        sizes = self._step_sizes(threat, steps)
        lowest = torch.full((len(x),), -torch.inf, device=x.device)
        best = Best(x, torch.zeros_like(x), lowest)
        at = _Iterates(x, x0, x, lowest, threat.around(x0), score, rng, best, sizes.begin(x, x0))
        result = x.clone()
        for step in range(steps + 1):
            slope = self.gradient(at.score)
            at.value, at.grad, reached = slope(at.x, at.rng.fold("step", step), step / (steps + 1))
            if threat is not self.threat:  # what fools in a larger ball does not count
                reached = torch.zeros_like(reached)
            if callback is not None:
                callback(Step(step, at.position, at.x, at.value, at.grad, reached))
            better = at.value > at.best.value  # also false for NaN
            at.best = Best(
                torch.where(expand(better, at.x), at.x, at.best.x),
                torch.where(expand(better, at.x), at.grad, at.best.grad),
                torch.where(better, at.value, at.best.value),
            )
            if self.early_stop and reached.any():
                at.scatter(result, at.x)
                at.keep(~reached)
                if not len(at):
                    return result
            if step == steps:
                break
            at.memory, back = sizes.back(at.memory, step, at.value, at.best, at.x0)
            if back is not None:
                at.x = torch.where(expand(back, at.x), at.best.x, at.x)
                at.grad = torch.where(expand(back, at.x), at.best.grad, at.grad)
            at.memory, at.x = sizes.move(at.memory, step, at.x, at.grad, at.balls)
        at.scatter(result, at.best.x)
        return result


@dataclass(eq=False)
class _Iterates(Active):
    """What one ascent knows of each example."""

    x: Images
    x0: Images
    grad: Images  # at x
    value: PerExample  # at x
    balls: Balls
    score: Score
    rng: Stream
    best: Best
    memory: Tree  # of the step sizes


@ATTACKS.named("apgd")
@dataclass(frozen=True, kw_only=True)
class APGD(Preset):
    """APGD: gradient ascent with momentum and step sizes that it chooses itself.

        z = Π(x_t + η · s(∇L(x_t))),  x_{t+1} = Π(x_t + 0.75 · (z - x_t) + 0.25 · (x_t - x_{t-1}))

    s is the steepest step. η begins at 2 ε; at a checkpoint since which fewer than three quarters
    of the steps raised L, or neither η nor the largest L has changed, it is halved and the ascent
    goes on from the best point. In ℓ1 steps are sparse and the ball shrinks, see `AdaptiveAscent`.
    ``goal=dlr`` gives APGD-DLR.

    When:
        In place of `PGD` wherever there is no reason for a fixed step. With ``goal=dlr`` where
        softmax saturates.

    When not:
        Alone for the last number: `APGDT` and `Square` break images that it leaves.

    Traps:
        The step sizes are planned over all ``steps``, so a run that is cut off is weaker than a
        short one. On a model that draws random numbers "the best point" is the luckiest draw:
        average (`adaptive`), or the halving follows noise. With two classes DLR is the margin, and
        grows with the logits.

    Attributes:
        threat: the ball of size ε, in ℓ∞, ℓ2 or ℓ1.
        steps: number of steps.
        restarts: runs from independent starts, each on the images that the earlier ones left
            robust.
        random_start: begin at a random draw from the ball rather than at the image; by default in
            ℓ∞ and ℓ2, and in ℓ1 if there are restarts: a single sparse ascent gains more from the
            image.
        goal: what to ascend.
        gradient: how to estimate its gradient.
        annealed: shorten the steps by a cosine instead of by success; see
            `holdfast.attacks.engine.step_sizes.Annealing`.
        early_stop: see `AdaptiveAscent`.
        votes: see `Restarts`.

    Raises:
        InputError: if steps or restarts is below 1.

    Reference:
        Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks", ICML 2020.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import APGD
        >>> from holdfast.goals import dlr
        >>> x_adv = APGD(Linf(0.3), steps=10, restarts=2, goal=dlr)(model, x, y, seed=0)  # APGD-DLR
        >>> int((model(x_adv).argmax(dim=1) == y).sum())
        0
    """

    threat: Threat = field(kw_only=False)
    steps: int = 100
    restarts: int = 1
    random_start: bool | None = None
    goal: Goal = cross_entropy
    gradient: Gradient = autograd
    annealed: bool = False
    early_stop: EarlyStop = True
    votes: Votes = field(default=1, repr=False)

    def engine(self) -> Climb:
        """The ascent, and again."""
        ascent = AdaptiveAscent(
            threat=self.threat,
            steps=self.steps,
            start=_start(self.threat, self.random_start, self.restarts),
            goal=self.goal,
            gradient=self.gradient,
            annealed=self.annealed,
            early_stop=self.early_stop,
        )
        return repeated(ascent, self.restarts, self.votes)


@ATTACKS.named("apgd-t")
@dataclass(frozen=True, kw_only=True)
class APGDT(Composed):
    """APGD-T: APGD on the targeted DLR loss, towards each of the likeliest other classes in turn.

        L_k(x) = (z_k - z_y) / (z_(1) - (z_(3) + z_(4)) / 2),  k = the ``targets`` likeliest, k ≠ y

    z_(1) ≥ z_(2) ≥ ... are the logits in their order at x, so that neither a constant nor a factor
    of all logits changes L_k. An image that one target broke meets no other.

    When:
        For what `APGD` leaves, at the price of an ascent for each target.

    When not:
        With very many classes and few passes: `MALT` goes towards fewer and nearer classes.

    Traps:
        The classes are ranked at the clean image, where a likely class may be a far one. The
        targeted loss divides by what sets the first logit apart from the third and fourth: with
        three classes the third stands for both, with two nothing is divided.

    Attributes:
        threat: the ball of size ε, in ℓ∞, ℓ2 or ℓ1.
        targets: number of classes; all others if the model has fewer.
        steps: number of steps for each class.
        restarts: runs for each class.
        random_start: see `APGD`.
        goal: what to ascend towards each class; the targeted DLR loss in the paper.
        gradient: how to estimate the gradient.
        annealed: see `APGD`.
        early_stop: see `AdaptiveAscent`.
        votes: see `EachTarget`.

    Raises:
        InputError: if targets, steps or restarts is below 1.

    Reference:
        Croce and Hein 2020, section 5; as in their code, an image is done with wherever it leaves
        its class, whichever class it then is.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import APGDT
        >>> x_adv = APGDT(Linf(0.3), targets=2, steps=10)(model, x, y, seed=0)
        >>> int((model(x_adv).argmax(dim=1) == y).sum())
        0
    """

    threat: Threat = field(kw_only=False)
    targets: int = 9
    steps: int = 100
    restarts: int = 1
    random_start: bool | None = None
    goal: TargetedGoal = leave_toward_dlr
    gradient: Gradient = autograd
    annealed: bool = False
    early_stop: EarlyStop = True
    votes: Votes = field(default=1, repr=False)

    def engine(self) -> EachTarget:
        """The ascent, towards each class."""
        ascent = AdaptiveAscent(
            threat=self.threat,
            steps=self.steps,
            start=_start(self.threat, self.random_start, self.restarts),
            gradient=self.gradient,
            annealed=self.annealed,
            early_stop=self.early_stop,
        )
        return EachTarget(
            ascent,
            targets=self.targets,
            goal=self.goal,
            restarts=self.restarts,
            votes=self.votes,
        )


def _start(threat: Threat, random: bool | None, restarts: int) -> Start:
    random = (threat.p != 1 or restarts > 1) if random is None else random
    return in_ball if random else at_image
