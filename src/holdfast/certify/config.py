"""What to certify with: noise, votes, intervals and bounds, as the options of the command line."""

import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from holdfast import specs
from holdfast.auditing.purse import check_share
from holdfast.batch_size import BatchSize, check_batch_size
from holdfast.certify.input_specific import InputSpecific
from holdfast.certify.intervals.interval import INTERVALS, Interval
from holdfast.certify.questions import AtLeast, Question, Within
from holdfast.certify.sequential import Sequential
from holdfast.certify.smoothing import named_bound, named_noise
from holdfast.certify.top import TOP_BOUND, about_label
from holdfast.defenses import Noise
from holdfast.defenses.noise import check_sigma
from holdfast.errors import InputError
from holdfast.parameters import MOST, Seed, at_least_one, check_fields, check_top, each_once

__all__ = ["CertificationConfig"]


@dataclass(frozen=True, kw_only=True)
class CertificationConfig:
    """How to certify.

    Attributes:
        sigma: standard deviation σ > 0 of the noise, on the scale of what it is added to.
        noise: "gaussian", which certifies in ℓ2, "laplace", in ℓ1, "first-layer", Gaussian
            behind the first layer, or "sound-gaussian", Gaussian on 8-bit images without rounding
            errors.
        votes: for each image, at least 1; the most that may be drawn if the interval is
            "sequential" or "input-specific".
        selection_votes: votes before those which only choose the class, for the intervals that
            need them.
        confidence: of each certificate, in (0, 1).
        bounds: specs, such as "cohen", the tight one, or the papers' "renyi", "pixeldp"; "laplace"
            for Laplace noise.
        intervals: specs, such as "two-sample", whose class is chosen before, so that nothing is
            corrected for, "two-sample-randomised", with a little larger radii, "clopper-pearson",
            "hoeffding", "sison-glaz", "stn-2019"; or "sequential" alone, or "input-specific" alone.
        top: k: what is certified is that the label is among the k classes which the smoothed
            classifier likes best (`top_certificates`), by the bound "cohen", whose generalisation
            that is, and the intervals "two-sample", "clopper-pearson" or both.
        radii: of interest; a sequential sampling stops as soon as it is known which of them
            are certified, an input-specific one is of as many votes as that is likely to take.
        within: a sequential sampling stops as soon as the certified radius is known up to this
            factor, in (0, 1); see `Within` for what that promises, and `InputSpecific`, which
            promises nothing and takes fewer votes.
        between: two radii: for ``within`` those beyond count as the nearer one.
        seed: of the noise.
        batch_size: noisy images in one forward pass, or "auto" for as many as free memory holds.
        audit: passes that the audit of the result may take, over those of the votes; 0 for no
            audit, infinity for no limit.

    Example:
        >>> from holdfast.certify import CertificationConfig
        >>> config = CertificationConfig(sigma=0.25, votes=1000, bounds=("renyi", "cohen"))
        >>> list(config.certificates), config.norm
        ([('renyi', 'two-sample'), ('cohen', 'two-sample')], 'l2')
    """

    sigma: float
    noise: str = "gaussian"
    votes: int = 100
    selection_votes: int = 100
    confidence: float = 0.95
    bounds: tuple[str, ...] = ("cohen",)
    intervals: tuple[str, ...] = ("two-sample",)
    top: int = 1
    radii: tuple[float, ...] = ()
    within: float | None = None
    between: tuple[float, ...] | None = None
    seed: Seed = 0
    batch_size: BatchSize = 128
    audit: float = 0.15

    def __post_init__(self) -> None:
        check_fields(self, most=MOST)
        at_least_one(votes=self.votes, selection_votes=self.selection_votes)
        check_batch_size(self.batch_size)
        for name in ("bounds", "intervals"):
            if not getattr(self, name):
                raise InputError(f"{name} is empty, but must name at least one.")
        for name in ("bounds", "intervals", "radii"):
            each_once(name, getattr(self, name))
        check_sigma(self.sigma)
        check_share(self.audit)
        for bound in self.bounds:
            named_bound(bound, self.family)
        for interval in self.intervals:
            self.limits(interval)  # which checks the confidence
        self._check_questions()
        check_top(self.top)
        if self.top > 1:
            self._check_top()

    def _check_top(self) -> None:
        if self.bounds != (TOP_BOUND,):
            raise InputError(
                f"top is {self.top} and the bounds are {', '.join(self.bounds)}, but only that of "
                f"{TOP_BOUND} is known for more than the first class: leave the others out."
            )
        for interval in self.intervals:
            about_label(self.limits(interval))

    def _check_questions(self) -> None:
        questions = self.questions
        if self.own_votes and len(self.intervals) > 1:
            raise InputError(
                f"the intervals are {', '.join(self.intervals)}, but only sequential limits hold "
                "for a sampling that stops by itself, and only input-specific ones choose how many "
                "votes an image gets: certify with the others on their own."
            )
        if self.own_votes and not questions:
            raise InputError(
                "a sequential sampling stops when it knows the answer, and an input-specific one "
                "is as large as that takes: say by radii or within what the question is."
            )
        if self.within is not None and not self.own_votes:
            raise InputError(
                "within says when a sequential sampling stops, and the intervals are "
                f"{', '.join(self.intervals)}: give the interval sequential, or input-specific."
            )
        if self.between is not None and self.within is None:
            raise InputError(
                "between says for which radii within is asked, and within is not given: give it, "
                "such as 0.9, or leave between out."
            )

    def record(self) -> dict[str, Any]:
        """As a run's record holds it. The audit is none of it: the rows are the same without."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name != "audit"
        } | {"top": None if self.top == 1 else self.top}  # as in runs of before there was this

    @property
    def sequential(self) -> bool:
        """Whether the sampling of an image stops by itself."""
        return any(isinstance(self.limits(interval), Sequential) for interval in self.intervals)

    @property
    def own_votes(self) -> bool:
        """Whether each image has a number of votes of its own."""
        return any(
            isinstance(self.limits(interval), Sequential | InputSpecific)
            for interval in self.intervals
        )

    @property
    def chooses(self) -> bool:
        """Whether an interval needs votes that only choose the class; a label is chosen already."""
        return self.top == 1 and any(self.limits(interval).chooses for interval in self.intervals)

    @property
    def questions(self) -> list[Question]:
        """What a sampling that is not of a fixed number is to find out."""
        asked: list[Question] = [AtLeast(self.radii)] if self.radii else []
        if self.within is not None:
            ends = () if self.between is None else (self.between,)
            asked.append(Within(self.within, *ends))
        return asked

    @property
    def norm(self) -> str:
        """Of the radii: "l2" or "l1"."""
        return self.family.norm

    @property
    def family(self) -> Noise:
        """The noise, by its name."""
        return named_noise(self.noise)

    @property
    def certificates(self) -> Iterator[tuple[str, str]]:
        """Every bound with every interval."""
        for interval in self.intervals:
            for bound in self.bounds:
                yield bound, interval

    def limits(self, interval: str) -> Interval:
        """The interval of that spec at this confidence; where votes are the most, with them."""
        written = specs.parse(interval, "interval", example="clopper-pearson")
        make = specs.find(written, "interval", INTERVALS)
        most = [self.votes] if make in (Sequential, InputSpecific) else []
        told = [self.confidence, *most]
        known = list(inspect.signature(make).parameters)[len(told) :]
        return make(*told, **specs.arguments(written, "interval", make, known))
