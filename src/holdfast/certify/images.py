"""Certificates of images at hand: Algorithm 1 of SO and STN from end to end, on tensors."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from holdfast.certify.after_noise import notes_on_what_follows_the_noise
from holdfast.certify.bounds.bound import BOUNDS, Bound
from holdfast.certify.input_specific import InputSpecific
from holdfast.certify.intervals.interval import Interval
from holdfast.certify.intervals.two_sample import TwoSample
from holdfast.certify.questions import Question
from holdfast.certify.sampling import sample
from holdfast.certify.sequential import Sequential, sample_until
from holdfast.certify.smoothing import (
    Certificates,
    certificate_stream,
    certificates,
    check_draws,
    ends_when,
    named_bound,
    named_noise,
)
from holdfast.certify.top import TOP_BOUND, about_label, check_top_draws, top_certificates
from holdfast.checks import (
    Checked,
    check_images,
    check_index,
    check_labels,
    check_model,
    warn_if_training,
    warn_of,
)
from holdfast.errors import InputError
from holdfast.parameters import Seed, at_least_one, check_arguments, check_top
from holdfast.tensors import eval_mode
from holdfast.threads import suited_threads
from holdfast.types import Images, Labels, Model

__all__ = ["certify_images"]


def certify_images(
    model: Model,
    x: Images,
    y: Labels | None = None,
    *,
    sigma: float,
    votes: int = 100,
    confidence: float = 0.95,
    bound: str | Bound = "cohen",
    interval: Callable[[float], Interval] = TwoSample,
    top: int = 1,
    until: Question | None = None,
    selection_votes: int = 100,
    noise: str = "gaussian",
    seed: Seed = 0,
    index: Tensor | None = None,
    batch_size: int = 128,
) -> Certificates:
    """Certify the smoothed classifier argmax_c P(f(x + noise) = c) on each image, without a label.

    With ``top`` = k, and labels, that the label is among the k classes which it likes best.
    `holdfast.certify.certify` makes rows and certified accuracy of it.

    With probability at least ``confidence`` over the draws, the smoothed classifier's prediction at
    an image is constant within the ball of the returned radius. What is certified is this
    classifier, never ``model`` itself without noise.

    Args:
        model: f, maps images to logits (N, K).
        x: (N, C, H, W) images in [0, 1].
        y: (N,) labels, with ``top`` alone.
        sigma: standard deviation σ > 0 of the noise, on the [0, 1] scale.
        votes: noisy copies of each image that are counted; the most of them with ``until``.
        confidence: of each image's certificate, in (0, 1).
        bound: a spec, such as "cohen", "renyi", "pixeldp", "laplace", or a function
            (p1, p2, sigma) -> radius; with ``top`` "cohen".
        interval: makes the confidence limits; with ``top`` `TwoSample` or `ClopperPearson`.
        top: k below the number of classes: as `top_certificates`, the prediction is the label where
            that is certified to be among the first k classes, and -1 elsewhere. With 1 it is the
            class of the votes.
        until: with the interval `Sequential`, draw for an image only until this is answered; with
            `InputSpecific`, as often as that is likely to take.
        selection_votes: draws that only choose the class, for an interval that needs them; with
            ``top`` none, since a label is chosen already.
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
            noise, labels and ``top`` do not go together, or so many votes cannot certify anything.
        InputTypeError: if the images or labels have the wrong type.
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
        >>> among_two = certify_images(model, x, y, top=2, sigma=0.1, votes=200)
        >>> bool((among_two.prediction == y.numpy()).all())  # each label is among the first two
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
    _check_top(top, y, len(x), bound, limits)
    x = x.detach()
    rng = certificate_stream(seed, check_index(index, len(x)).to(x.device))
    warn_if_training(model)
    with eval_mode(model, images=x.dtype), suited_threads(tuple(x.shape[1:]), model):
        if until is None:
            first = selection_votes if limits.chooses and y is None else 0
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
    if y is not None:
        check_top(top, sampling.classes)
        check_top_draws(votes, limits, sampling.classes, top)
        label, wide = y.cpu().numpy(), smoothed.lipschitz
        return top_certificates(sampling, label, top, limits, sigma, lipschitz=wide)
    check_draws(votes, limits, sampling.classes)
    return certificates(sampling, limits, radius_of, sigma)


def _check_top(
    top: int, y: Tensor | None, images: int, bound: str | Bound, limits: Interval
) -> None:
    """Labels are given where certificates are of them, with a bound and an interval about them."""
    check_top(top)
    if top == 1:
        if y is not None:
            raise InputError(
                "y is given and top is 1, but of the first class alone the class of the votes is "
                "certified, whatever the label: give top of at least 2, or leave y out."
            )
        return
    if y is None:
        raise InputError(
            f"top is {top} and y is not given, but what is certified is that the label is among "
            f"the first {top} classes: give the labels (N,)."
        )
    check_labels(y, images)
    if bound not in (TOP_BOUND, BOUNDS[TOP_BOUND]):
        raise InputError(
            f"top is {top} and the bound is {bound!r:.60}, but only that of {TOP_BOUND} is known "
            "for more than the first class: leave the bound out."
        )
    about_label(limits)


def _at_most(interval: Interval, votes: int) -> Interval:
    if isinstance(interval, Sequential | InputSpecific):
        return replace(interval, most=votes)
    return interval
