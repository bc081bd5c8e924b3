"""ODI: ascents that begin where the network answers differently, not where pixels were drawn."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from holdfast.attacks.apgd import AdaptiveAscent
from holdfast.attacks.engine.ascent import Ascent
from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.engine.preset import Composed
from holdfast.attacks.engine.repeat import repeated
from holdfast.attacks.engine.roles import EarlyStop, Votes
from holdfast.attacks.engine.starts import in_ball
from holdfast.goals import logits_of, margin
from holdfast.gradients import autograd
from holdfast.parameters import at_least_one
from holdfast.random import Stream
from holdfast.types import (
    Callback,
    Goal,
    Gradient,
    Images,
    Labels,
    Model,
    Positions,
    Score,
    Scored,
    Threat,
)

__all__ = ["ODI"]


@ATTACKS.named("odi")
@dataclass(frozen=True, kw_only=True)
class ODI(Composed):
    """ODI: APGD from where a few steps along a random mix of the logits lead, again and again.

        x ← Π(x + ε/2 · steepest(∇ wᵀz(x))),  w ~ U(-1, 1)ᴷ, from a random point of the ball,

    then the ascent. Points drawn at random in the ball look alike to a network and lead to the same
    maximum; these differ in what it answers. A mix is drawn for each image and run.

    When:
        For what one ascent leaves, in place of `APGD` with restarts.

    When not:
        For a first look, since it costs ``restarts`` ascents on every image that stands.

    Traps:
        The ``mixing`` steps come on top of ``steps``, so that runs of equal steps are not of equal
        cost. By default it ascends the margin, where `APGD` ascends the cross-entropy: beside each
        other, give both one goal.

    Attributes:
        threat: the ball of size ε, in ℓ∞, ℓ2 or ℓ1.
        steps: of the ascent, shortened by a cosine in ℓ∞ and ℓ2, see
            `holdfast.attacks.engine.step_sizes.Annealing`.
        restarts: runs, each on the images that the earlier ones left robust.
        mixing: steps along the mix.
        goal: what to ascend then.
        gradient: how to estimate the gradients of both.
        early_stop: see `AdaptiveAscent`.
        votes: see `Restarts`.

    Raises:
        InputError: if steps, restarts or mixing is below 1.

    Reference:
        Tashiro, Song and Ermon, "Diversity can be enhanced: output diversified sampling for white-
        and black-box attacks", NeurIPS 2020, section 3.1, with PGD.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import ODI
        >>> x_adv = ODI(Linf(0.3), steps=10, restarts=2)(model, x, y, seed=0)
        >>> int((model(x_adv).argmax(dim=1) == y).sum())
        0
    """

    threat: Threat = field(kw_only=False)
    steps: int = 20
    restarts: int = 10
    mixing: int = 7
    goal: Goal = margin
    gradient: Gradient = autograd
    early_stop: EarlyStop = True
    votes: Votes = field(default=1, repr=False)

    def engine(self) -> Climb:
        """The ascent behind its beginning, and again."""
        ascent = AdaptiveAscent(
            threat=self.threat,
            steps=self.steps,
            goal=self.goal,
            gradient=self.gradient,
            annealed=self.threat.p != 1,
            early_stop=self.early_stop,
        )
        return repeated(_Diverted(ascent, mixing=self.mixing), self.restarts, self.votes)


@dataclass(frozen=True, kw_only=True)
class _Diverted(Climb):
    """An ascent that begins where steps along a mix of the logits lead."""

    attack: AdaptiveAscent = field(kw_only=False)
    mixing: int

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(mixing=self.mixing)
        self._along()

    @property
    def threat(self) -> Threat:
        return self.attack.threat

    @property
    def goal(self) -> Goal:
        return _Mixable(self.attack.goal)

    def climb(
        self, score: Score, x0: Images, rng: Stream, callback: Callback | None = None
    ) -> Images:
        assert isinstance(score, _MixableScore)
        begin = self._along().climb(score.mixed(rng.fold("mix")), x0, rng.fold("along"), callback)
        ascent = replace(self.attack, start=_There(begin))
        return ascent.climb(score.score, x0, rng.fold("ascent"), callback)

    def _along(self) -> Ascent:
        """The steps along the mix."""
        return Ascent(
            threat=self.threat,
            steps=self.mixing,
            step_size=self.threat.eps / 2,
            start=in_ball,
            gradient=self.attack.gradient,
            early_stop=self.attack.early_stop,
        )


@dataclass(frozen=True)
class _There:
    """A start at images that are known."""

    images: Images

    def __call__(self, x0: Images, threat: Threat, rng: Stream) -> Images:
        del x0, threat, rng
        return self.images


@dataclass(frozen=True)
class _Mixable(Goal):
    """A goal that can tell how the logits mix, too."""

    goal: Goal

    def __call__(self, model: Model, x0: Images, y: Labels) -> "_MixableScore":
        with torch.no_grad():
            classes = logits_of(model, x0).shape[1]
        return _MixableScore(self.goal(model, x0, y), model, y, classes)


@dataclass(frozen=True, eq=False)
class _MixableScore:
    """The goal's score, and beside it mixes of the logits."""

    score: Score
    model: Model
    y: Labels
    classes: int

    def __call__(self, x: Images) -> Scored:
        return self.score(x)

    def take(self, index: Positions) -> "_MixableScore":
        return replace(self, score=self.score.take(index), y=self.y[index])

    def mixed(self, rng: Stream) -> Score:
        """wᵀz(x), w drawn for each image; reached where another class is predicted."""
        return _Mix(self.model, self.y, 2 * rng.uniform((self.classes,)) - 1)


@dataclass(frozen=True, eq=False)
class _Mix:
    """The logits of each image, weighted."""

    model: Model
    y: Labels
    weights: Tensor  # (N, K)

    def __call__(self, x: Images) -> Scored:
        logits = logits_of(self.model, x)
        return Scored((self.weights.to(logits) * logits).sum(dim=1), logits.argmax(1) != self.y)

    def take(self, index: Positions) -> Score:
        return replace(self, y=self.y[index], weights=self.weights[index])
