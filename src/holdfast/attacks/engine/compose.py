"""Attacks made of attacks."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.aimed import deciding
from holdfast.attacks.engine.attack import Attack, prepared, verify
from holdfast.attacks.engine.queries import query
from holdfast.attacks.engine.repeat import placed
from holdfast.attacks.engine.roles import Aim, Votes
from holdfast.attacks.skips import skip
from holdfast.checks import check_model, warn_if_training
from holdfast.errors import GradientError, InputError
from holdfast.goals import margin
from holdfast.parameters import Seed, at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.threat import BALLS
from holdfast.types import Callback, Images, Labels, Model, Score, Threat

__all__ = ["Broken", "Then", "Worst"]


@dataclass(frozen=True, kw_only=True)
class Then(Attack):
    """Run one attack, and another on what comes out: its ball is around that image.

    The threat is the sum of both in their norm, by the triangle inequality; if their norms differ,
    that of the second without a limit.

    Attributes:
        first: runs on the clean images.
        second: runs on the images that the first returns.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM, PGD, Then
        >>> both = Then(PGD(Linf(0.1), steps=5), FGSM(Linf(0.2)))
        >>> x_adv = both(model, x, y, seed=0)
        >>> bool((x_adv - x).abs().max() <= 0.3)
        True
    """

    first: Attack = field(kw_only=False)
    second: Attack = field(kw_only=False)

    @property
    def threat(self) -> Threat:
        """The sum of both."""
        one, two = self.first.threat, self.second.threat
        if one.name != two.name:
            return two.unlimited()
        return BALLS[two.name](one.eps + two.eps)

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Run both, and prove that each has kept to its own threat; see `Attack.perturb`."""
        x = x0
        for attack, purpose in ((self.first, "first"), (self.second, "second")):
            start = x
            x = attack.perturb(model, start, y, rng.fold(purpose), callback)
            verify(x, start, attack.threat, attack)
        return x


@dataclass(frozen=True, kw_only=True)
class Worst(Attack):
    """The worst case over several attacks: each is run on what the earlier ones left robust.

    Whether an image is broken is asked of the model, by a fresh pass at the very image that an
    attack returned, never of the attack. An image that is robust against all of them is returned as
    that one of their images which came nearest by the aim, of votes where there are several, the
    first among equals.

    A part that needs a gradient where none reaches the images is skipped, and the others go on; it
    is told of through `holdfast.attacks.skips`.

    For a stochastic model one lucky draw must not end the search: with ``votes`` draws the majority
    decides, as it does for the evaluator. `against_randomness` sets their number.

    Attributes:
        attacks: at least one, all with the same threat. They are stated afresh on the images left,
            so a goal with one target for each image is out of place here.
        aim: when an image is broken; by default, when the prediction is not its label.
        votes: draws that decide a prediction, at least 1; 1 is enough for a deterministic model.
        called: names of the attacks where it is told which of them broke an image; their reprs by
            default.
        budget: passes an image that the attacks were chosen to fit in, if they were; it changes
            nothing here, but says that what they leave out may be needed where gradients mislead.
        near: for each part, which images have come near to falling when it ends: those whose aim
            has at most this fraction left of what it was at the image itself, all where it is 1.
            The others are *far*, from then on. As many as there are parts, or none at all, and then
            no image is far.
        spare: whether the parts that follow are spared to images that are far.
        pilot: images, drawn by the seed, of which the far ones must all stand for an evaluation to
            spare the others; 0 never to spare any. A batch by itself always gets all.

    Raises:
        InputError: if there is no attack, their threats differ or have no limit, votes is below 1,
            pilot below 0, or there are not as many names, or bounds of what is near, as attacks.
        GradientError: when run, if every part needs a gradient and none reaches the images.

    Reference:
        Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks", ICML 2020: their ensemble is such a cascade.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM, PGD, Worst
        >>> worst = Worst((FGSM(Linf(0.3)), PGD(Linf(0.3), steps=10)), called=("fgsm", "pgd"))
        >>> x_adv = worst(model, x, y, seed=0)
        >>> worst.names
        ('fgsm', 'pgd')
    """

    attacks: tuple[Attack, ...] = field(kw_only=False)
    aim: Aim = margin
    votes: Votes = 1
    called: tuple[str, ...] = field(default=(), repr=False)
    budget: int | None = field(default=None, repr=False)
    near: tuple[float, ...] = field(default=(), repr=False)
    spare: bool = field(default=False, repr=False)
    pilot: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.attacks:
            raise InputError("there is no attack; a worst case is taken over at least one.")
        at_least_one(votes=self.votes)
        if self.pilot < 0:
            raise InputError(f"pilot is {self.pilot}, but a number of images is at least 0.")
        threats = [attack.threat for attack in self.attacks]
        if any(threat != threats[0] for threat in threats):
            raise InputError(
                f"the attacks have the threats {', '.join(map(repr, dict.fromkeys(threats)))}, but "
                "a worst case is taken within one."
            )
        if math.isinf(threats[0].eps):
            raise InputError(
                "the threat has no limit, so that the first point found would end the search; "
                "give a finite eps, or run the attacks one by one and compare their distances."
            )
        if self.called and len(self.called) != len(self.attacks):
            raise InputError(
                f"there are {len(self.called)} names for {len(self.attacks)} attacks; give one "
                "each."
            )
        if self.near and len(self.near) != len(self.attacks):
            raise InputError(
                f"there are {len(self.near)} bounds of what is near for {len(self.attacks)} "
                "attacks; give one each, or none."
            )

    @property
    def threat(self) -> Threat:
        """That of all parts."""
        return self.attacks[0].threat

    @property
    def names(self) -> tuple[str, ...]:
        """What the attacks are called."""
        return self.called or tuple(map(repr, self.attacks))

    def run(
        self,
        model: Model,
        x: Images,
        y: Labels,
        *,
        seed: Seed = 0,
        index: Tensor | None = None,
        callback: Callback | None = None,
    ) -> "Broken":
        """Attack a batch as calling does, and tell which attack broke which image.

        Arguments and errors are those of `Attack.__call__`, and so are the images.
        """
        check_model(model)
        warn_if_training(model)
        with prepared(model, x, y, seed, index) as (checked, x0, y, rng):
            broken = self._cascade(checked, x0, y, rng, callback)
        verify(broken.x_adv, x, self.threat, self)
        return broken

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Run the attacks in turn; see `Attack.perturb`."""
        return self._cascade(model, x0, y, rng, callback).x_adv

    def _cascade(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None
    ) -> "Broken":
        decides = model if self.votes == 1 else deciding(model, self.votes, self.aim)
        with drawing_from(rng.fold("aim")):
            score = self.aim(decides, x0, y)
        result, by = x0.clone(), torch.full_like(y, -1)
        nearest = torch.full((len(x0),), -torch.inf, device=x0.device)
        far = torch.zeros_like(y, dtype=torch.bool)
        begun = query(score, x0, rng.fold("begun")).value if self.near else nearest
        at = _Left(x0, y, score, rng, begun)
        blocked: list[GradientError] = []
        for part, attack in enumerate(self.attacks):
            stream = at.rng.fold("part", part)
            watch = placed(callback, at.position, self.names[part])
            try:
                found = attack.perturb(model, at.x0, at.y, stream, watch).detach()
            except GradientError as error:
                blocked.append(error)
                skip(self.names[part], error)
                continue
            value, reached = query(at.score, found, stream.fold("check"))
            better = reached | (value > nearest[at.position])
            at.scatter(nearest, torch.where(better, value.to(nearest), nearest[at.position]))
            result[at.position[better]] = found[better]
            by[at.position[reached]] = part
            at.keep(~reached)
            if self.near:
                came = torch.maximum(nearest[at.position], at.begun)  # it begins where it is
                far[at.position] |= came < self.near[part] * at.begun
                if self.spare:
                    at.keep(~far[at.position])
            if not len(at):
                break
        if len(blocked) == len(self.attacks):
            raise blocked[-1]
        return Broken(result, by, self.names, far)


@dataclass(eq=False)
class _Left(Active):
    """The images that no attack has broken."""

    x0: Images
    y: Labels
    score: Score
    rng: Stream
    begun: Tensor  # the aim's value at the image itself


class Broken(NamedTuple):
    """What a cascade of attacks found.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM, PGD, Worst
        >>> worst = Worst((FGSM(Linf(0.0)), PGD(Linf(0.0), steps=1)), called=("fgsm", "pgd"))
        >>> broken = worst.run(model, x, y)  # nothing breaks within a ball of size 0
        >>> broken.by, broken.names
        (tensor([-1, -1, -1, -1]), ('fgsm', 'pgd'))
    """

    x_adv: Images
    by: Int[Tensor, " n"]  # which attack broke the image, counted from 0; -1 where none did
    names: tuple[str, ...]  # of the attacks
    far: Bool[Tensor, " n"]  # whether the image was not near when a part had ended, see `Worst`
