"""Hoeffding's limits of the mean scores, as PixelDP uses them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from holdfast.certify.intervals.interval import INTERVALS, Limits, two_leading
from holdfast.certify.sampling import Sampling
from holdfast.errors import InputError
from holdfast.statistics import check_confidence

__all__ = ["Hoeffding"]


@INTERVALS.named("hoeffding")
@dataclass(frozen=True)
class Hoeffding:
    """Limits of the mean scores instead of the votes, as PixelDP uses them.

        mean score ± sqrt(log((K + 2) / (1 - confidence)) / 2n),

    where K + 2 limits must hold: the lower ones of all K classes, of which any may lead, and the
    upper ones of the two that are truly the most probable. What is certified is the classifier
    that answers the class of the largest mean softmax, which need not be the vote.

    When:
        To compare with PixelDP, which certifies the mean scores.

    When not:
        Of votes: the binomial limits are nearer.

    Traps:
        What it certifies is the class of the largest mean softmax, which need not be the vote: it
        does not compare with a certified vote image by image. A network of hesitant softmaxes has
        small limits though it always votes alike.

    Attributes:
        confidence: joint confidence, in (0, 1).

    Reference:
        Hoeffding 1963, theorem 1; Lecuyer et al. 2019, section 3.4, "Certified prediction".

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import Hoeffding, Sampling
        >>> sampling = Sampling(np.array([[3, 90, 7]]), scores=np.array([[0.1, 0.8, 0.1]]))
        >>> limits = Hoeffding(0.95)(sampling)
        >>> limits.top, limits.p1.round(3), limits.p2.round(3)
        (array([1]), array([0.648]), array([0.252]))
    """

    confidence: float
    chooses: ClassVar[bool] = False
    guaranteed: ClassVar[bool] = True
    of_votes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_confidence(self.confidence)

    def __call__(self, sampling: Sampling) -> Limits:
        """The limits for every image."""
        if sampling.scores is None:
            raise InputError("Hoeffding limits need mean scores, and the sampling has none.")
        error = (1 - self.confidence) / (sampling.classes + 2)
        width = np.sqrt(np.log(1 / error) / (2 * sampling.n))
        top, means = two_leading(sampling.scores)
        p1 = np.maximum(means[:, 0] - width, 0)
        return Limits(top, p1, np.minimum(means[:, 1] + width, 1 - p1))
