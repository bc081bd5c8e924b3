"""Algorithm 1 of SO and STN behind its votes: confidence limits -> certified radius."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from holdfast import specs
from holdfast.certify.bounds.bound import (
    BOUNDS,
    Bound,
    noise_of_bound,
    parameters_of_bound,
    proven,
)
from holdfast.certify.input_specific import InputSpecific, allotted
from holdfast.certify.intervals.interval import Interval, least_draws
from holdfast.certify.questions import Question, answered
from holdfast.certify.sampling import Sampling
from holdfast.certify.sequential import Sequential, Settled
from holdfast.defenses import NOISES, Noise
from holdfast.errors import InputError, unknown
from holdfast.parameters import Seed
from holdfast.random import Stream
from holdfast.statistics import Array, Counts

__all__ = ["ABSTAIN", "Certificates", "certificates"]

#: What the smoothed classifier predicts where it abstains.
ABSTAIN = -1


@dataclass(frozen=True)
class Certificates:
    """What is proven about N images, each with the stated confidence.

    Attributes:
        prediction: (N,) class of the smoothed classifier; -1 where it abstains.
        radius: (N,) distance within which that prediction provably cannot change, ℓ2 for Gaussian
            and ℓ1 for Laplace noise; 0 where it abstains. Float64, rounded down to a
            millionth, and a billionth below what the bound gave, for its own rounding.
        p1: (N,) lower limit of the leading class's probability.
        p2: (N,) upper limit of every other class's.
        sampling: what they rest on.

    Example:
        >>> from holdfast.certify import certify_images
        >>> proven = certify_images(model, x, sigma=0.1, votes=100, seed=0)
        >>> proven.prediction.shape, proven.radius.dtype, proven.counts.sum(axis=1)
        ((4,), dtype('float64'), array([100, 100, 100, 100]))
        >>> bool((proven.radius[proven.abstained] == 0).all())
        True
    """

    prediction: Counts
    radius: Array
    p1: Array
    p2: Array
    sampling: Sampling

    @property
    def counts(self) -> Counts:
        """(N, K) votes."""
        return self.sampling.counts

    @property
    def abstained(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(N,) whether the two leading classes were not told apart."""
        return self.prediction == ABSTAIN


def certificates(
    sampling: Sampling, interval: Interval, bound: Bound, sigma: float
) -> Certificates:
    """From a sampling to certificates (Algorithm 1, lines 6 and 7); needs no model.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import ClopperPearson, Sampling, certificates, cohen_radius
        >>> sampling = Sampling(np.array([[3, 90, 7], [40, 35, 25]]))
        >>> proven = certificates(sampling, ClopperPearson(0.95), cohen_radius, 0.25)
        >>> proven.prediction, proven.radius.round(2)  # the second abstains
        (array([ 1, -1]), array([0.25, 0.  ]))
    """
    top, p1, p2 = interval(sampling)
    separated = p1 > p2
    radius = np.where(separated, proven(bound, p1, p2, sigma), 0.0)
    return Certificates(np.where(separated, top, ABSTAIN), radius, p1, p2, sampling)


def certificate_stream(seed: Seed, index: Tensor) -> Stream:
    """The randomness of the certificates of the images ``index``.

    Example:
        >>> from holdfast.certify.smoothing import certificate_stream
        >>> len(certificate_stream(0, torch.arange(4)))
        4
    """
    return Stream.of(seed, index).fold("certify")


def named_noise(noise: str) -> Noise:
    """The family of that name; raises `UnknownNameError` if there is none.

    Example:
        >>> from holdfast.certify.smoothing import named_noise
        >>> named_noise("laplace").norm
        'l1'
    """
    if noise not in NOISES:
        raise unknown("noise", noise, NOISES)
    return NOISES[noise]


def named_bound(bound: str | Bound, noise: Noise, lipschitz: float = 1.0) -> Bound:
    """The function that a bound's spec says, for noise behind a layer of that Lipschitz constant.

    Raises:
        UnknownNameError: if there is no bound or parameter of that name.
        InputError: if it is about other noise, or a parameter is wrong.

    Example:
        >>> from holdfast.certify import cohen_radius
        >>> from holdfast.certify.smoothing import named_bound, named_noise
        >>> named_bound("cohen", named_noise("gaussian")) is cohen_radius
        True
    """
    if isinstance(bound, str):
        bound = _bound(bound, noise)
    return bound if lipschitz == 1 else _behind(bound, lipschitz)


def _bound(text: str, noise: Noise) -> Bound:
    written = specs.parse(text, "bound", example="cohen")
    bound = specs.find(written, "bound", BOUNDS)
    laws = {each: NOISES[noise_of_bound(other)].law for each, other in BOUNDS.items()}
    if laws[written.name] is not noise.law:
        suitable = [each for each, law in laws.items() if law is noise.law]
        raise InputError(
            f"the bound {written.name!r} is about {laws[written.name].__name__}, and the noise is "
            f"{noise.law.__name__}, for which there is {', '.join(suitable)}."
        )
    given = specs.arguments(written, "bound", bound, parameters_of_bound(bound))
    return partial(bound, **given) if given else bound


def _behind(bound: Bound, lipschitz: float) -> Bound:
    """L / Λ: what moves an image by L / Λ moves the input of the noise by at most L (SO 4)."""

    def radius(p1: Any, p2: Any, sigma: Any) -> Any:  # whatever kinds the bound takes
        return bound(p1, p2, sigma) / lipschitz

    return radius


def ends_when(
    questions: Sequence[Question], limits: Interval, bounds: Sequence[Bound], sigma: float
) -> Callable[[Sampling], Settled]:
    """Which images of a sampling need no more votes, as the interval settles it.

    Raises:
        InputError: if the interval is for one number of votes.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import AtLeast, Sampling, Sequential, cohen_radius
        >>> from holdfast.certify.smoothing import ends_when
        >>> limits = Sequential(0.95, most=1000)
        >>> settled = ends_when([AtLeast((0.1,))], limits, [cohen_radius], 0.25)
        >>> settled(Sampling(np.array([[100, 0]]), choice=np.array([[10, 0]])))
        array([ True])
    """
    if isinstance(limits, Sequential):
        return answered(questions, limits, bounds, sigma)
    if isinstance(limits, InputSpecific):
        return allotted(questions, limits, bounds, sigma)
    raise InputError(
        f"the limits are {type(limits).__name__}, which hold for a fixed number of draws only: to "
        "stop early give the interval Sequential, or InputSpecific."
    )


def check_draws(votes: int, interval: Interval, classes: int) -> None:
    """Raise `InputError` if so many cannot certify anything, however well they agree.

    Example:
        >>> from holdfast.certify import ClopperPearson
        >>> from holdfast.certify.smoothing import check_draws
        >>> check_draws(5, ClopperPearson(0.95), classes=10)
        Traceback (most recent call last):
        holdfast.errors.InputError: votes is 5, but with 10 classes and confidence 0.95 ...
    """
    least = least_draws(interval, classes)
    if votes < least:
        raise InputError(
            f"votes is {votes}, but with {classes} classes and confidence {interval.confidence:g} "
            f"{type(interval).__name__} cannot tell a class from the others by fewer than {least} "
            f"draws, however well they agree: give votes of at least {least}."
        )
