"""Algorithm 1 of SO and STN from end to end: votes -> confidence limits -> certified radius."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from holdfast import specs
from holdfast.certify.after_noise import notes_on_what_follows_the_noise
from holdfast.certify.bounds.bound import (
    BOUNDS,
    Bound,
    noise_of_bound,
    parameters_of_bound,
    proven,
)
from holdfast.certify.input_specific import InputSpecific, allotted
from holdfast.certify.intervals.interval import Interval, least_draws
from holdfast.certify.intervals.two_sample import TwoSample
from holdfast.certify.questions import Question, answered
from holdfast.certify.sampling import Sampling, sample
from holdfast.certify.sequential import Sequential, Settled, sample_until
from holdfast.checks import (
    Checked,
    check_images,
    check_index,
    check_model,
    warn_if_training,
    warn_of,
)
from holdfast.defenses import NOISES, Noise
from holdfast.errors import InputError, unknown
from holdfast.parameters import Seed, at_least_one, check_arguments
from holdfast.random import Stream
from holdfast.statistics import Array, Counts
from holdfast.tensors import eval_mode
from holdfast.threads import suited_threads
from holdfast.types import Images, Model

__all__ = ["ABSTAIN", "Certificates", "certificates", "certify_images"]

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


def certify_images(
    model: Model,
    x: Images,
    *,
    sigma: float,
    votes: int = 100,
    confidence: float = 0.95,
    bound: str | Bound = "cohen",
    interval: Callable[[float], Interval] = TwoSample,
    until: Question | None = None,
    selection_votes: int = 100,
    noise: str = "gaussian",
    seed: Seed = 0,
    index: Tensor | None = None,
    batch_size: int = 128,
) -> Certificates:
    """Certify the smoothed classifier argmax_c P(f(x + noise) = c) on each image, without a label.

    `holdfast.certify.certify` makes rows and certified accuracy of it.

    With probability at least ``confidence`` over the draws, the smoothed classifier's prediction at
    an image is constant within the ball of the returned radius. What is certified is this
    classifier, never ``model`` itself without noise.

    Args:
        model: f, maps images to logits (N, K).
        x: (N, C, H, W) images in [0, 1].
        sigma: standard deviation σ > 0 of the noise, on the [0, 1] scale.
        votes: noisy copies of each image that are counted; the most of them with ``until``.
        confidence: of each image's certificate, in (0, 1).
        bound: a spec, such as "cohen", "renyi", "pixeldp", "laplace", or a function
            (p1, p2, sigma) -> radius.
        interval: makes the confidence limits.
        until: with the interval `Sequential`, draw for an image only until this is answered; with
            `InputSpecific`, as often as that is likely to take.
        selection_votes: draws that only choose the class, for an interval that needs them.
        noise: "gaussian", "laplace"; or "first-layer", Gaussian behind the network's first layer,
            on whose output's scale sigma then is: radii are divided by the proven Lipschitz
            constant of what comes before the noise (SO section 4); or "sound-gaussian", rounded to
            the levels of 8-bit images, which is drawn without rounding errors.
        seed: the same seed gives the same votes, whatever the batch size, but for rounding.
        index: (N,) identity of each image, which keys its noise; 0 ... N - 1.
        batch_size: noisy images in one forward pass.

    Returns:
        Predictions, radii, limits and votes.

    Raises:
        InputError: if images leave [0, 1], a parameter is out of range, the bound is about other
            noise, or so many votes cannot certify anything.
        InputTypeError: if the images have the wrong type.
        ModelError: if the model does not return finite logits (N, K).
        UnknownNameError: if no bound has that name.

    Example:
        >>> from holdfast.certify import Sequential, Within, certify_images
        >>> proven = certify_images(model, x, sigma=0.1, votes=200, bound="cohen", seed=0)
        >>> bool((proven.radius >= 0).all())
        True
        >>> stopped = certify_images(
        ...     model,
        ...     x,
        ...     sigma=0.1,
        ...     votes=10_000,
        ...     bound="cohen",
        ...     interval=Sequential,
        ...     until=Within(0.5),
        ... )
        >>> bool((stopped.sampling.n < 10_000).any())  # some images need few draws
        True
    """
    check_model(model)
    check_arguments(certify_images, locals())
    check_images(x)
    at_least_one(votes=votes, selection_votes=selection_votes, batch_size=batch_size)
    family = named_noise(noise)
    family.check(x)
    smoothed = family.around(model, sigma, tuple(x.shape[1:]))
    classifier = Checked(smoothed.model)
    limits = interval(confidence) if until is None else _at_most(interval(confidence), votes)
    radius_of = named_bound(bound, family, smoothed.lipschitz)
    x = x.detach()
    rng = certificate_stream(seed, check_index(index, len(x)).to(x.device))
    warn_if_training(model)
    with eval_mode(model, images=x.dtype), suited_threads(tuple(x.shape[1:]), model):
        if until is None:
            first = selection_votes if limits.chooses else 0
            sampling = sample(classifier, x, rng, n=votes, n0=first, batch_size=batch_size)
        else:
            settled = ends_when([until], limits, [radius_of], sigma)
            sampling = sample_until(
                settled,
                classifier,
                x,
                rng,
                n=votes,
                n0=selection_votes,
                batch_size=batch_size,
            )
        if not family.first_layer:
            warn_of(notes_on_what_follows_the_noise(model, x[:8], sigma))
    check_draws(votes, limits, sampling.classes)
    return certificates(sampling, limits, radius_of, sigma)


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


def _at_most(interval: Interval, votes: int) -> Interval:
    if isinstance(interval, Sequential | InputSpecific):
        return replace(interval, most=votes)
    return interval


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
