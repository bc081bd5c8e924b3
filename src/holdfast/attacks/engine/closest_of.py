"""An attack made of several for the smallest perturbation: whatever of them comes closest."""

from dataclasses import dataclass, field
from typing import ClassVar

from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.aimed import deciding
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.onward import Onward
from holdfast.attacks.engine.queries import query
from holdfast.attacks.engine.repeat import placed
from holdfast.attacks.engine.roles import Aim, EarlyStop, Votes
from holdfast.errors import InputError
from holdfast.goals import margin
from holdfast.parameters import at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.types import Callback, Images, Labels, Model, Score, Threat

__all__ = ["ClosestOf"]


@dataclass(frozen=True, kw_only=True)
class ClosestOf(Attack):
    """The closest point of several attacks: some from the image, others from the closest so far.

    Each point is asked about once more. An image that fools as it stands is returned as it is.

    Attributes:
        threat: the norm; points beyond its eps do not count.
        attacks: run one after another, each from the image; in the same norm, without a limit.
        polish: run afterwards, each from the closest point that was found by then.
        aim: when an image is broken; by default, when the prediction is not its label.
        votes: draws that decide a prediction, at least 1; 1 is enough for a deterministic model.
        early_stop: be done with an image once a point within the threat's eps is known.

    Raises:
        InputError: if there is no attack, votes is below 1, or the threat of a part is another.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import DDN, FAB, FMN, ClosestOf
        >>> free = L2(float("inf"))
        >>> parts = DDN(free, steps=20), FAB(free, steps=5)
        >>> both = ClosestOf(free, attacks=parts, polish=(FMN(free, steps=20),))
        >>> x_adv = both(model, x, y)
        >>> here, there = (free.distance(z, x) for z in (x_adv, parts[0](model, x, y)))
        >>> bool((here <= there).all())
        True
    """

    finds_smallest: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0")  # if its parts do

    threat: Threat = field(kw_only=False)
    attacks: tuple[Attack, ...]
    polish: tuple[Onward, ...] = ()
    aim: Aim = margin
    votes: Votes = 1
    early_stop: EarlyStop = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(votes=self.votes, attacks=len(self.attacks))
        for part in (*self.attacks, *self.polish):
            if part.threat != self.threat.unlimited():
                raise InputError(
                    f"{type(part).__name__} has the threat {part.threat}, but is to find the "
                    f"closest in {self.threat.name} wherever it lies: give it "
                    f"{self.threat.unlimited()}."
                )

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Run all parts, and hold the closest point; see `Attack.perturb`."""
        with drawing_from(rng.fold("aim")):
            score = self.aim(deciding(model, self.votes, self.aim), x0, y)
        closest = Closest(x0, self.threat.unlimited())
        closest.offer(x0, query(score, x0, rng.fold("clean")).reached)
        at = _Left(x0, y, score, rng)
        for number, part in enumerate((*self.attacks, *self.polish)):
            at.keep(closest.improvable(self.threat, self.early_stop)[at.position])
            if not len(at):
                break
            stream = at.rng.fold("part", number)
            watch = placed(callback, at.position, type(part).__name__)
            if number < len(self.attacks):
                found = part.perturb(model, at.x0, at.y, stream, watch)
            else:
                assert isinstance(part, Onward)
                known = closest.image[at.position]
                found = part.onward(model, at.x0, known, at.y, stream, watch)
            found = found.detach()
            closest.offer(found, query(at.score, found, stream.fold("check")).reached, at.position)
        return closest.limited(self.threat).image


@dataclass(eq=False)
class _Left(Active):
    """The images for which a closer point is of use."""

    x0: Images
    y: Labels
    score: Score
    rng: Stream
