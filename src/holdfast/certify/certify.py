"""Algorithm 1 of SO and STN from end to end: votes -> confidence limits -> certified radius."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.certify.bound import Array, Bound
from holdfast.certify.cohen import cohen_radius
from holdfast.certify.intervals import ClopperPearson, Counts, Interval, Limits
from holdfast.certify.pixeldp import pixeldp_radius
from holdfast.certify.renyi import renyi_radius
from holdfast.checks import Checked, check_images, warn_if_training
from holdfast.defenses import GaussianNoise
from holdfast.errors import unknown
from holdfast.random import Stream
from holdfast.tensors import eval_mode
from holdfast.types import Images, Model
from holdfast.votes import take_votes

#: What the noisy classifier predicts where the vote does not tell the two leading classes apart.
ABSTAIN = -1

BOUNDS: Mapping[str, Bound] = MappingProxyType(
    {
        "renyi": renyi_radius,
        "cohen": cohen_radius,
        "pixeldp": pixeldp_radius,
    }
)


@dataclass(frozen=True)
class Certificates:
    """What is proven about N images, each with the stated confidence.

    Attributes:
        prediction: (N,) class of the noisy vote; -1 where it abstains.
        radius: (N,) ℓ2 distance within which that prediction provably cannot change; 0 where the
            vote abstains. Float64, rounded down to a millionth.
        p1: (N,) lower limit of the leading class's probability.
        p2: (N,) upper limit of every other class's.
        counts: (N, K) votes.
    """

    prediction: Counts
    radius: Array
    p1: Array
    p2: Array
    counts: Counts

    @property
    def abstained(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(N,) whether the two leading classes were not told apart."""
        return self.prediction == ABSTAIN


def certify(
    model: Model,
    x: Images,
    *,
    sigma: float,
    n: int = 100,
    confidence: float = 0.95,
    bound: str | Bound = "renyi",
    interval: Callable[[float], Interval] = ClopperPearson,
    seed: int = 0,
    index: Tensor | None = None,
    batch_size: int = 128,
) -> Certificates:
    """Certify the noisy classifier argmax_c P(f(x + N(0, σ² I)) = c) on each image.

    With probability at least ``confidence`` over the draws, the noisy classifier's prediction at
    an image is constant within the ℓ2 ball of the returned radius. What is certified is this
    classifier, never ``model`` itself without noise.

    Args:
        model: f, maps images to logits (N, K).
        x: (N, C, H, W) images in [0, 1].
        sigma: standard deviation σ > 0 of the noise, on the [0, 1] scale.
        n: number of noisy copies of each image.
        confidence: of each image's certificate, in (0, 1).
        bound: "renyi", or a function (p1, p2, sigma) -> radius.
        interval: makes the confidence limits.
        seed: the same seed gives the same votes, whatever the batch size.
        index: (N,) identity of each image, which keys its noise; 0 ... N - 1.
        batch_size: noisy images in one forward pass.

    Returns:
        Predictions, radii, limits and votes.

    Raises:
        InputError: if images leave [0, 1], or a parameter is out of range.
        InputTypeError: if the images have the wrong type.
        ModelError: if the model does not return finite logits (N, K).
        UnknownNameError: if no bound has that name.
    """
    check_images(x)
    noisy = nn.Sequential(GaussianNoise(sigma), Checked(model))
    limits = interval(confidence)
    radius_of = named_bound(bound)
    index = torch.arange(len(x)) if index is None else index
    rng = Stream.of(seed, index.to(x.device)).fold("certify")
    warn_if_training(model)
    with eval_mode(model):
        votes = take_votes(noisy, x, rng, n=n, batch_size=batch_size)
    return certificates(votes.counts.cpu().numpy(), limits, radius_of, sigma)


def certificates(counts: Counts, interval: Interval, bound: Bound, sigma: float) -> Certificates:
    """From votes (N, K) to certificates (Algorithm 1, lines 6 and 7); needs no model."""
    limits: Limits = interval(counts)
    radius = round_down(bound(limits.p1, limits.p2, np.float64(sigma)))
    separated = limits.p1 > limits.p2
    prediction = np.where(separated, limits.top, ABSTAIN)
    return Certificates(prediction, np.where(separated, radius, 0.0), limits.p1, limits.p2, counts)


def named_bound(bound: str | Bound) -> Bound:
    """The function of a bound's name."""
    if not isinstance(bound, str):
        return bound
    if bound not in BOUNDS:
        raise unknown("bound", bound, BOUNDS)
    return BOUNDS[bound]


def round_down(radius: Array, decimals: int = 6) -> Array:
    """Never claim more than was proven: cut after ``decimals`` digits."""
    scale = 10.0**decimals
    return np.floor(np.asarray(radius) * scale) / scale
