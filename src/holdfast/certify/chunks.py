"""The votes of a chunk of images, and the certificates that they amount to."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from holdfast.batch_size import first_batch
from holdfast.certify.config import CertificationConfig
from holdfast.certify.rows import rows_of
from holdfast.certify.sampling import Sampling, sample
from holdfast.certify.sequential import sample_until
from holdfast.certify.smoothing import (
    certificate_stream,
    ends_when,
    named_bound,
)
from holdfast.data import Data
from holdfast.defenses.smoothed import SmoothedClassifier
from holdfast.progress import Progress, Share
from holdfast.results import Missing, Part, Work
from holdfast.tensors import device_of, sent
from holdfast.votes import Heard


@dataclass(frozen=True)
class Chunks:
    """Computes what a chunk lacks.

    Attributes:
        smoothed: whose votes are taken.
        data: the test set.
        config: noise, votes, bounds and intervals.
        progress: told about every forward pass.
        share: of the images that are done, and of the votes of those under way.
    """

    smoothed: SmoothedClassifier
    data: Data
    config: CertificationConfig
    progress: Progress
    share: Share

    def at_once(self, size: int) -> Work:
        """The work with so many noisy images in memory."""
        return replace(self, config=replace(self.config, batch_size=size)).compute

    def compute(self, missing: Missing) -> Iterator[Part]:
        """One sampling for all certificates."""
        data, config, index = self.data, self.config, missing.index
        self.progress.measure(self.share)
        sampling = sampled(self.smoothed, data, index, config, self.progress, self.share)
        self.share.finished += len(index)
        self.share.under_way = 0
        wanted = list(config.certificates)
        for cell in missing.cells:
            lipschitz = self.smoothed.lipschitz
            yield Part(cell, rows_of(data, index, sampling, config, lipschitz, *wanted[cell]))


def sampled(
    smoothed: SmoothedClassifier,
    data: Data,
    index: torch.Tensor,
    config: CertificationConfig,
    progress: Progress,
    share: Share,
) -> Sampling:
    """The votes of some images, by the run's own draws.

    Args:
        smoothed: whose votes are taken.
        data: the test set.
        index: (n,) of the images.
        config: noise, votes, intervals and seed.
        progress: told about every forward pass.
        share: of the votes under way.
    """
    x = sent(data.x(index), device_of(smoothed.model))
    config.family.check(x)
    rng = certificate_stream(config.seed, sent(index, x.device))
    n0 = config.selection_votes if config.chooses else 0
    heard = _shown(progress, share, len(x), n0 + config.votes)
    noisy = first_batch(config.batch_size)
    if config.own_votes:
        bounds = [named_bound(bound, config.family, smoothed.lipschitz) for bound in config.bounds]
        (interval,) = config.intervals
        settled = ends_when(config.questions, config.limits(interval), bounds, config.sigma)
        return sample_until(
            settled,
            smoothed.model,
            x,
            rng,
            n=config.votes,
            n0=n0,
            batch_size=noisy,
            heard=heard,
        )
    return sample(smoothed.model, x, rng, n=config.votes, n0=n0, batch_size=noisy, heard=heard)


def _shown(progress: Progress, share: Share, images: int, each: int) -> Heard:
    """Tells how many of a chunk's votes were taken; fewer than all where it stops early."""
    taken, most = 0, images * each

    def heard(votes: int) -> None:
        nonlocal taken
        taken += votes
        share.under_way = taken / each
        progress.tell(lambda: f"{taken} of {most} votes")

    return heard
