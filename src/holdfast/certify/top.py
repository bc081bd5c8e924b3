"""Certificates that a label is among the k classes which a smoothed classifier likes best."""

import numpy as np

from holdfast.certify.bounds.bound import claimed
from holdfast.certify.bounds.top import levelled, top_radius
from holdfast.certify.intervals.interval import Interval
from holdfast.certify.intervals.label import OfLabel
from holdfast.certify.sampling import Sampling
from holdfast.certify.search import smallest
from holdfast.certify.smoothing import ABSTAIN, Certificates
from holdfast.errors import InputError
from holdfast.statistics import Counts

__all__ = ["top_certificates"]

#: The bound whose generalisation to k classes is proven.
TOP_BOUND = "cohen"


def top_certificates(
    sampling: Sampling,
    label: Counts,
    top: int,
    interval: Interval,
    sigma: float,
    *,
    lipschitz: float = 1.0,
) -> Certificates:
    """From a sampling to certificates of labels, by Jia et al.'s theorem 1; needs no model.

    With the interval's confidence, over the draws of one image: everywhere within its radius fewer
    than k other classes are as probable under noise as the label.

    Args:
        sampling: votes under Gaussian noise.
        label: (N,) a class of each image, which hangs on no vote.
        top: k, at least 1 and below the number of classes.
        interval: such as `TwoSample`, by the label's votes alone, or `ClopperPearson`, by those of
            the other classes too.
        sigma: standard deviation σ > 0 of the noise.
        lipschitz: Λ > 0 of what comes before the noise, by which radii are divided.

    Returns:
        As of `certificates`: the prediction is the label where it is certified, and -1 elsewhere;
        p2 is an upper limit of the k-th largest probability among the other classes.

    Raises:
        InputError: if the interval cannot be about a label, or ``top`` or a label is out of range.

    Reference:
        Jia et al., "Certified robustness for top-k predictions against adversarial perturbations
        via randomized smoothing", ICLR 2020.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import ClopperPearson, Sampling, top_certificates
        >>> sampling = Sampling(np.array([[300, 450, 200, 50], [30, 900, 40, 30]]))
        >>> proven = top_certificates(sampling, np.array([0, 0]), 2, ClopperPearson(0.95), 0.25)
        >>> proven.prediction, proven.radius  # class 0 may be the third of the second image
        (array([ 0, -1]), array([0.016173, 0.      ]))
    """
    p1, others = about_label(interval).of_label(sampling, label, top)
    p2 = levelled(p1, others)[:, 0]
    separated = p1 > p2
    radius = np.where(separated, claimed(top_radius(p1, others, sigma) / lipschitz), 0.0)
    return Certificates(np.where(separated, label, ABSTAIN), radius, p1, p2, sampling)


def about_label(interval: Interval) -> OfLabel:
    """The interval itself, if it can be about a label.

    Raises:
        InputError: if it cannot.

    Example:
        >>> from holdfast.certify import TwoSample
        >>> from holdfast.certify.top import about_label
        >>> about_label(TwoSample(0.95)).confidence
        0.95
    """
    if not isinstance(interval, OfLabel):
        raise InputError(
            f"the limits are {type(interval).__name__}, which are about the class of the votes, "
            "and top is about the label: give the interval two-sample or clopper-pearson."
        )
    return interval


def check_top_draws(votes: int, interval: Interval, classes: int, top: int) -> None:
    """Raise `InputError` if so many votes cannot certify a label, however well they agree.

    Example:
        >>> from holdfast.certify import ClopperPearson
        >>> from holdfast.certify.top import check_top_draws
        >>> check_top_draws(1, ClopperPearson(0.999), classes=10, top=5)
        Traceback (most recent call last):
        holdfast.errors.InputError: votes is 1, but with top 5 and confidence 0.999 ...
    """

    def enough(n: int) -> bool:
        sampling, first = Sampling.unanimous(n, classes), np.zeros(1, dtype=np.int64)
        p1, others = about_label(interval).of_label(sampling, first, top)
        return bool(p1[0] > levelled(p1, others)[0, 0])

    least = smallest(enough)
    if votes < least:
        raise InputError(
            f"votes is {votes}, but with top {top} and confidence {interval.confidence:g} "
            f"{type(interval).__name__} cannot tell a label from the others by fewer than {least} "
            f"draws, however well they agree: give votes of at least {least}."
        )
