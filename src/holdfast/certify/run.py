"""Certify a test set into a run folder: Algorithm 1 on every image, a row for each certificate.

One sampling of votes and scores serves all bounds and intervals. Its counts and mean scores stand
in the rows, so that whoever prefers another bound can have it without the model.
"""

from typing import Any

import pandas as pd
import torch
from torch import nn

from holdfast.auditing.fresh import fresh
from holdfast.batch_size import at_once
from holdfast.certify.after_noise import notes_on_what_follows_the_noise
from holdfast.certify.auditing.ledger import Ledger
from holdfast.certify.auditing.run import audited
from holdfast.certify.auditing.subject import Subject
from holdfast.certify.chunks import Chunks
from holdfast.certify.config import CertificationConfig
from holdfast.certify.result import Certification
from holdfast.certify.rows import cells_of
from holdfast.certify.smoothing import (
    check_draws,
)
from holdfast.certify.top import check_top_draws
from holdfast.checks import (
    check_classes,
    check_images,
    check_labels,
    check_logits,
    check_model,
    probability_notes,
    training_notes,
    try_model,
    warn_of,
)
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.files import StrPath
from holdfast.group import Group, first
from holdfast.models.identity import identify
from holdfast.parameters import check_arguments, check_title, check_top
from holdfast.progress import Progress, Share, silent
from holdfast.results import Fitting, Run, kept_or_temporary
from holdfast.tensors import device_of, eval_mode
from holdfast.threads import suited_threads
from holdfast.types import Images, Labels, Model
from holdfast.workers import workers_at

__all__ = ["certify", "certify_data"]

_VOTES_IN_A_CHUNK = 20_000
_IMAGES_IN_A_CHUNK = 128  # where each image stops by itself

#: What is wrong with probabilities where their softmax is taken.
_NEAR = (
    "votes are the same, but mean scores are of their softmax, lie close together and certify less"
)


def certify(
    model: Model,
    x: Images,
    y: Labels,
    *,
    config: CertificationConfig,
    name: str = "model",
    out: StrPath | None = None,
    progress: Progress = silent,
    workers: int | str | None = None,
) -> Certification:
    """Certified accuracy of the classifier that answers what ``model`` mostly says under noise.

        result = certify(model, x, y, config=CertificationConfig(sigma=0.25, votes=1000))
        print(result.summary())

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K), on the device that is to do the work.
        x: (N, C, H, W) images in [0, 1].
        y: (N,) true classes.
        config: noise, votes, confidence, bounds and intervals, and how the result is audited.
        name: of the model, for the record.
        out: folder to keep the run in; interrupted, the same call goes on from there.
        progress: told about every chunk.
        workers: how many processes of this machine share the images, or the address of a Ray
            cluster, "ray://host:10001", whose workers do; None for this process alone. They need
            ``holdfast[ray]``. See docs/scaling.md.

    Returns:
        Rows, cells, and whether these can be believed.

    Raises:
        InputError, InputTypeError: if images, labels or a parameter are not what they must be, or
            so many votes cannot certify anything.
        ModelError: if the model does not return finite logits (N, K).
        OutputError: if ``out`` cannot be written or holds another run.
        WorkersError: if there are no such workers, or they end on some images each time.

    Example:
        >>> from holdfast.certify import CertificationConfig, certify
        >>> config = CertificationConfig(sigma=0.1, votes=200, bounds=("renyi", "cohen"))
        >>> result = certify(model, x, y, config=config)
        >>> sorted(result.rows["bound"].unique()), len(result.rows)  # a row for each certificate
        (['cohen', 'renyi'], 8)
    """
    check_model(model)
    check_arguments(certify, locals())
    check_images(x)
    check_labels(y, len(x))
    return certify_data(model, Data.of(x, y), config, name, out, progress, workers=workers)


def certify_data(
    model: Model,
    data: Data,
    config: CertificationConfig,
    name: str = "model",
    out: StrPath | None = None,
    progress: Progress = silent,
    group: Group | None = None,
    workers: int | str | None = None,
) -> Certification:
    """As `certify`, of a data set, whose images are read one chunk after the other.

    Args:
        model: on the device that is to do the work.
        data: the test set.
        config: noise, votes, confidence, bounds and intervals.
        name: of the model, for the record.
        out: folder to keep the run in; interrupted, the same call goes on from there.
        progress: told about every chunk.
        group: several processes that share the chunks among them; ``model`` is on each one's
            device, and ``out`` is the same folder for all.
        workers: see `certify`; not with a group.

    Example:
        >>> from holdfast.certify import CertificationConfig, certify_data
        >>> from holdfast.data import Data
        >>> data, config = Data.of(x, y), CertificationConfig(sigma=0.1)
        >>> result = certify_data(model, data, config, out="run")  # kept in a folder
        >>> again = certify_data(model, data, config, out="run")  # read from there
        >>> bool((result.rows["radius"] == again.rows["radius"]).all())
        True
    """
    check_model(model)
    check_arguments(certify_data, locals())
    check_title("the model", name)
    if group is not None and group.world_size > 1 and out is None:
        raise InputError("several processes share one run folder: say by out where it is.")
    if group is not None and group.world_size > 1 and workers is not None:
        raise InputError(
            "workers and several processes of a group both share out the images: give one of them."
        )
    notes = training_notes(model)
    with (
        workers_at(workers, device_of(model), progress) as engine,
        eval_mode(model, images=data.dtype),
        suited_threads(data.shape, model, progress=progress),
        kept_or_temporary(out) as folder,
    ):
        unasked = fresh(model) if config.audit else None
        notes += first(group, lambda: _probe(model, data, config))
        if group is None or group.is_global_zero:
            warn_of(notes)
        record = {
            "model": name,
            "data": data.name,
            **identify(model, data),
            "data_fingerprint": data.fingerprint(),
            "images": len(data),
            "shape": list(data.shape),
            "norm": config.norm,
            **config.record(),
        }

        fitting = at_once(config.batch_size, [model], data, gradient=False)

        def work(run: Run) -> None:
            rank, world = (group.global_rank, group.world_size) if group else (0, 1)
            size = max(8, _VOTES_IN_A_CHUNK // config.votes)
            if config.own_votes:
                size = _IMAGES_IN_A_CHUNK
            chunks = dict(list(enumerate(data.batches(size)))[rank::world])
            smoothed = config.family.around(model, config.sigma, data.shape)
            labels = [f"{bound}, {interval}" for bound, interval in config.certificates]
            what = f"certify sigma {config.sigma:g}, {config.votes} votes"
            share = Share(run.images_left(chunks, range(len(labels))))
            of = Chunks(smoothed, data, config, progress, share).at_once
            work = Fitting(of, fitting)
            run.fill(chunks, labels, work, what, progress, engine)

        def results(run: Run, rows: pd.DataFrame) -> dict[str, Any]:
            cells = _cells(rows, config, name, run)
            about = {"classes": list(data.classes), "cells": cells, "warnings": notes}
            if config.batch_size == "auto":
                about["batch_size"] = fitting.size
            if config.audit:
                around = config.family.around(model, config.sigma, data.shape)
                ledger = Ledger(rows, record, cells, len(data.classes), around.lipschitz)
                subject = Subject(model, data, ledger, config.audit, unasked)
                about["audit"] = audited(ledger, subject).record()
            return about

        Run.resume_or(folder, "certify", record, work, results, group=group, progress=progress)
        return Certification.read(folder, notes)


def _cells(
    rows: pd.DataFrame, config: CertificationConfig, model: str, run: Run
) -> list[dict[str, Any]]:
    """The cells as ``holdfast certify --json`` prints them."""
    seconds = sum(run.chunks.seconds(cell) for cell, _ in enumerate(config.certificates))
    return [{**cell, "seconds": round(seconds, 3)} for cell in cells_of(rows, config, model)]


def _probe(model: nn.Module, data: Data, config: CertificationConfig) -> list[str]:
    """Check the model on a few images, and whether the votes can do anything, before any work.

    Returns:
        What must be known to read the certificates.
    """
    config.family.around(model, config.sigma, data.shape)  # which refuses what it cannot bound
    index = torch.arange(min(len(data), 8))
    x = data.x(index).to(device_of(model))
    check_images(x)
    config.family.check(x)
    with torch.no_grad():
        logits = try_model(model, x)
        check_logits(logits, len(x))
        check_classes(data.y, logits.shape[1])
    check_top(config.top, logits.shape[1])
    notes = probability_notes(logits, _NEAR)
    for interval in config.intervals:
        limits = config.limits(interval)
        if config.top > 1:
            check_top_draws(config.votes, limits, logits.shape[1], config.top)
        else:
            check_draws(config.votes, limits, logits.shape[1])
        if not limits.guaranteed:
            notes.append(
                f"the limits of {interval} do not hold with the stated confidence, least of all "
                "where nearly all votes agree: its radii are for comparison with published ones "
                "and prove nothing."
            )
    if not config.family.first_layer:
        notes += notes_on_what_follows_the_noise(model, x, config.sigma)
    return notes
