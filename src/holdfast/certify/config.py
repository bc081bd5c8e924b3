"""What to certify with: noise, votes, intervals and bounds, by the names of the command line."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from holdfast.certify.intervals.interval import INTERVALS, Interval
from holdfast.certify.sequential import AtLeast, Question, Sequential, Within
from holdfast.certify.smoothing import named_bound, named_noise
from holdfast.defenses import Noise
from holdfast.defenses.noise import check_sigma
from holdfast.errors import InputError, unknown
from holdfast.parameters import check_fields

__all__ = ["CertificationConfig"]


@dataclass(frozen=True, kw_only=True)
class CertificationConfig:
    """How to certify.

    Attributes:
        sigma: standard deviation σ > 0 of the noise, on the scale of what it is added to.
        noise: "gaussian", which certifies in ℓ2, "laplace", in ℓ1, or "first-layer", Gaussian
            behind the first layer.
        n: votes for each image, at least 1; the most that may be drawn if the interval is
            "sequential".
        n0: votes before those which only choose the class, for the intervals that need them.
        confidence: of each certificate, in (0, 1).
        bound: "renyi", "cohen", "pixeldp"; "laplace" for Laplace noise.
        interval: "clopper-pearson", "two-sample", "hoeffding", "sison-glaz", "stn-2019"; or
            "sequential" alone.
        radius: radii of interest; a sequential sampling stops as soon as it is known which of them
            are certified.
        within: a sequential sampling stops as soon as the certified radius is known up to this
            factor, in (0, 1).
        seed: of the noise.
        batch_size: noisy images in one forward pass.

    Example:
        >>> from holdfast.certify import CertificationConfig
        >>> config = CertificationConfig(sigma=0.25, n=1000, bound=("renyi", "cohen"))
        >>> list(config.certificates), config.norm
        ([('renyi', 'clopper-pearson'), ('cohen', 'clopper-pearson')], 'l2')
    """

    sigma: float
    noise: str = "gaussian"
    n: int = 100
    n0: int = 100
    confidence: float = 0.95
    bound: tuple[str, ...] = ("renyi",)
    interval: tuple[str, ...] = ("clopper-pearson",)
    radius: tuple[float, ...] = ()
    within: float | None = None
    seed: int = 0
    batch_size: int = 128

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("n", "n0", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, but must be at least 1.")
        for name in ("bound", "interval"):
            if not getattr(self, name) or len(set(getattr(self, name))) < len(getattr(self, name)):
                raise InputError(f"{name} must name at least one, and none of them twice.")
        check_sigma(self.sigma)
        for bound in self.bound:
            named_bound(bound, self.family)
        for interval in self.interval:
            if interval not in INTERVALS:
                raise unknown("interval", interval, INTERVALS)
            self.limits(interval)  # which checks the confidence
        self._check_questions()

    def _check_questions(self) -> None:
        questions = self.questions
        if self.sequential and len(self.interval) > 1:
            raise InputError(
                f"the intervals are {', '.join(self.interval)}, but only sequential limits hold "
                "for a sampling that stops by itself: run the others with a fixed n."
            )
        if self.sequential and not questions:
            raise InputError(
                "a sequential sampling stops when it knows the answer: say by radius or within "
                "what the question is."
            )
        if self.within is not None and not self.sequential:
            raise InputError(
                "within says when a sequential sampling stops, and the interval is "
                f"{', '.join(self.interval)}: give the interval sequential."
            )

    def record(self) -> dict[str, Any]:
        """As a run's record holds it."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @property
    def sequential(self) -> bool:
        """Whether the sampling of an image stops by itself."""
        return "sequential" in self.interval

    @property
    def questions(self) -> list[Question]:
        """What a sequential sampling is to find out."""
        asked: list[Question] = [AtLeast(tuple(self.radius))] if self.radius else []
        return asked + ([] if self.within is None else [Within(self.within)])

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
        for interval in self.interval:
            for bound in self.bound:
                yield bound, interval

    def limits(self, interval: str) -> Interval:
        """The interval of that name at this confidence."""
        if interval == "sequential":
            return Sequential(self.confidence, most=self.n)
        return INTERVALS[interval](self.confidence)
