"""The interval of STN's code of 2019, which took its confidence for the significance level."""

from dataclasses import dataclass
from typing import ClassVar

from holdfast.certify.intervals.interval import INTERVALS, Limits
from holdfast.certify.intervals.sison_glaz import SisonGlaz
from holdfast.certify.sampling import Sampling
from holdfast.statistics import check_confidence

__all__ = ["STN2019"]


@INTERVALS.named("stn-2019")
@dataclass(frozen=True)
class STN2019:
    """Sison and Glaz's limits at 1 - confidence: what STN's code took for confidence; not sound.

        the limits of `SisonGlaz` at 1 - confidence

    The authors' ``bound.py`` of May 2019 calls R's ``multinomialCI(votes, 0.95)``, whose second
    argument is the significance level, so that limits called 95 % are limits at 5 %. They mended
    it on 27 December 2020, in commit 9f75119 of Bai-Li/STN-Code: "Fix a bug on the parameter of the
    function multinomialCI()". **The stated confidence does not hold**; the limits are here to show
    how far radii reach with them that no interval of that confidence proves.

    When:
        To see where STN's printed radii come from.

    When not:
        As a guarantee, ever: at its worst it holds in 9.5 % where it says 95
        (docs/results/certified-robustness-additive-gaussian-noise/lenet.md).

    Traps:
        ``confidence=0.95`` asks for limits at 5 %, as that code did. p1 and p2 of the code add up
        to more than 1, and here to 1: its radius is 1.82 where this one is 1.803.

    Attributes:
        confidence: what the code of 2019 calls so, in (0, 1); the limits are for 1 - confidence.

    Reference:
        Li et al. 2019, the authors' code before the commit above. Differs from it as `SisonGlaz`
        does in cutting p1 to 1 - p2: 100 equal votes at σ = 0.7 give a Rényi radius of 1.803, and
        the code's p1 = 1 beside p2 = 0.001, of sum above 1, would give 1.82.

    Example:
        >>> from holdfast.certify import STN2019, Sampling
        >>> _, p1, p2 = STN2019(0.95)(Sampling.unanimous(100, classes=10))
        >>> p1.round(4), p2.round(4)
        (array([0.999]), array([0.001]))
    """

    confidence: float
    chooses: ClassVar[bool] = False
    guaranteed: ClassVar[bool] = False
    of_votes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_confidence(self.confidence)

    def __call__(self, sampling: Sampling) -> Limits:
        """The limits for every image."""
        return SisonGlaz(1 - self.confidence)(sampling)
