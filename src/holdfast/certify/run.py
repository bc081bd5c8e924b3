"""Certify a test set into a run folder: Algorithm 1 on every image, a row for each certificate.

One sampling of votes and scores serves all bounds and intervals. Its counts and mean scores stand
in the rows, so that whoever prefers another bound can have it without the model.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from holdfast import metrics
from holdfast.certify import Certificates, Sampling, certificates
from holdfast.certify.after_noise import warn_of_what_follows_the_noise
from holdfast.certify.config import INTERVALS, CertificationConfig
from holdfast.certify.sampling import sample
from holdfast.certify.sequential import Sequential, answered, sample_until
from holdfast.certify.smoothing import certificate_stream, check_draws, named_bound
from holdfast.checks import check_classes, check_images, check_logits, try_model, warn_if_training
from holdfast.data import Data
from holdfast.defenses.smoothed import Noisy
from holdfast.models.identity import identify
from holdfast.processes import first
from holdfast.progress import Progress, silent
from holdfast.results import Run, read_about
from holdfast.tensors import device_of, eval_mode
from holdfast.threads import suited_threads
from holdfast.types import Model

T = TypeVar("T")

_VOTES_IN_A_CHUNK = 20_000
_IMAGES_IN_A_CHUNK = 128  # where each image stops by itself

#: Mean scores of so many leading classes are kept for each image.
_SCORES_KEPT = 5


def certify_data(
    model: Model,
    data: Data,
    how: CertificationConfig,
    settings: Mapping[str, Any],
    out: Path,
    progress: Progress = silent,
    fabric: Fabric | None = None,
) -> list[dict[str, Any]]:
    """Certify every image of ``data`` into the run folder ``out``.

    Args:
        model: on the device that is to do the work.
        data: the test set.
        how: noise, votes, confidence, bounds and intervals.
        settings: what identifies model and data, for the record.
        out: the run folder; interrupted, the same call goes on from there.
        progress: told about every chunk.
        fabric: several processes that share the chunks among them; ``model`` is on each one's
            device, and ``out`` is the same folder for all.

    Returns:
        A record for each bound with each interval, as ``holdfast certify --json`` prints them.
    """
    warn_if_training(model)

    def lead(work: Callable[[], T]) -> T:
        return work() if fabric is None else first(fabric, work)

    with eval_mode(model), suited_threads(data.shape, model, progress=progress):
        lead(lambda: _probe(model, data, how))
        record = {
            **settings,
            **identify(model, data),
            "data_fingerprint": data.fingerprint(),
            "images": len(data),
            "shape": list(data.shape),
            "norm": how.norm,
            **{
                name: list(value) if isinstance(value, tuple) else value
                for name, value in asdict(how).items()
            },
        }

        def finish() -> None:
            rows = run.merge()
            seconds = round(run.seconds(0), 3)
            cells = _cells(rows, how, settings["model"], seconds)
            run.finish(classes=list(data.classes), cells=cells)
            run.clear()

        with ExitStack() as stack:  # by the first process, for all
            if lead(lambda: stack.enter_context(Run(out, "certify", record).writing())):
                rank, world = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
                run = Run(out, "certify", record).join()
                _fill(run, model, data, how, progress, rank, world)
                if fabric is not None:
                    fabric.barrier()
                lead(finish)
            else:
                progress.say(Run(out, "certify", record).told_complete())
    cells: list[dict[str, Any]] = read_about(out)["cells"]
    return cells


def _fill(
    run: Run,
    model: Model,
    data: Data,
    how: CertificationConfig,
    progress: Progress,
    rank: int,
    world: int,
) -> None:
    """Write every missing chunk that is this process's; each certificate is a cell."""
    wanted = list(how.certificates)
    noisy = how.family.around(model, how.sigma, data.shape)
    size = _IMAGES_IN_A_CHUNK if how.sequential else max(8, _VOTES_IN_A_CHUNK // how.n)
    chunks = list(enumerate(data.batches(size)))[rank::world]
    total = sum(len(index) for _, index in chunks)
    progress.start(f"certify sigma {how.sigma:g}, n {how.n}", total)
    for chunk, index in chunks:
        if not all(run.has(cell, chunk) for cell in range(len(wanted))):
            began = time.monotonic()
            sampling = _sample(noisy, data, index, how)
            seconds = time.monotonic() - began
            for cell, (bound, interval) in enumerate(wanted):
                rows = _rows(data, index, sampling, how, noisy.lipschitz, bound, interval)
                run.write(cell, chunk, rows, 0.0 if cell else seconds)
        progress.advance(len(index))


def _sample(noisy: Noisy, data: Data, index: torch.Tensor, how: CertificationConfig) -> Sampling:
    x = data.x(index).to(device_of(noisy.model))
    rng = certificate_stream(how.seed, index.to(x.device))
    if how.sequential:
        bounds = [named_bound(bound, how.family, noisy.lipschitz) for bound in how.bound]
        limits = Sequential(how.confidence, most=how.n)
        settled = answered(how.questions, limits, bounds, how.sigma)
        return sample_until(
            settled, noisy.model, x, rng, n=how.n, n0=how.n0, batch_size=how.batch_size
        )
    chooses = any(INTERVALS[interval].chooses for interval in how.interval)
    n0 = how.n0 if chooses else 0
    return sample(noisy.model, x, rng, n=how.n, n0=n0, batch_size=how.batch_size)


def _rows(
    data: Data,
    index: torch.Tensor,
    sampling: Sampling,
    how: CertificationConfig,
    lipschitz: float,
    bound: str,
    interval: str,
) -> pd.DataFrame:
    radius_of = named_bound(bound, how.family, lipschitz)
    found: Certificates = certificates(sampling, how.limits(interval), radius_of, how.sigma)
    columns = {
        "bound": bound,
        "interval": interval,
        "index": index.numpy(),
        "label": data.y[index].numpy(),
        "prediction": found.prediction,
        "abstained": found.abstained,
        "radius": found.radius,
        "p1": found.p1,
        "p2": found.p2,
        "draws": sampling.n,
        "votes": _by_class(sampling.counts),
    }
    if sampling.scores is not None:
        columns["scores"] = _by_class(np.round(sampling.scores, 9), _SCORES_KEPT)
    if sampling.choice is not None:
        columns["choice"] = _by_class(sampling.choice)
    return pd.DataFrame(columns)


def _by_class(values: NDArray[Any], most: int | None = None) -> list[str]:
    """Rows as "class:value class:value ...", from the largest value, without the zeros."""
    return [
        " ".join(f"{k}:{row[k]}" for k in (-row).argsort(kind="stable")[:most] if row[k])
        for row in values
    ]


def _cells(
    rows: pd.DataFrame, how: CertificationConfig, model: str, seconds: float
) -> list[dict[str, Any]]:
    found = []
    for bound, interval in how.certificates:
        part = rows[(rows["bound"] == bound) & (rows["interval"] == interval)]
        drawn = int(part["draws"].sum()) + len(part) * (how.n0 if "choice" in part else 0)
        cell = {
            "model": model,
            "sigma": how.sigma,
            "noise": how.noise,
            "norm": how.norm,
            "n": how.n,
            "confidence": how.confidence,
            "bound": bound,
            "interval": interval,
            "guaranteed": INTERVALS[interval].guaranteed,
            "images": len(part),
            "accuracy": float((part["prediction"] == part["label"]).mean()),
            "abstained": float(part["abstained"].mean()),
            "curve": metrics.certified_curve(part),
            "at": _at(part, how.radius),
            "forwards": drawn,
            "seconds": seconds,
        }
        found.append(cell)
    return found


def _at(rows: pd.DataFrame, radii: Sequence[float]) -> list[dict[str, float]]:
    """Certified accuracy at the radii of interest, with its interval over the images."""
    table = metrics.certified(rows, list(radii)).rename(
        columns={"eps": "radius", "robust_accuracy": "accuracy"}
    )
    columns = table[["radius", "accuracy", "low", "high"]].astype(float)
    return [{str(key): value for key, value in line.items()} for line in columns.to_dict("records")]


def _probe(model: nn.Module, data: Data, how: CertificationConfig) -> None:
    """Check the model on a few images, and whether n draws can do anything, before any work."""
    how.family.around(model, how.sigma, data.shape)  # which refuses what it cannot bound
    index = torch.arange(min(len(data), 8))
    x = data.x(index).to(device_of(model))
    check_images(x)
    with torch.no_grad():
        logits = try_model(model, x)
        check_logits(logits, len(x))
        check_classes(data.y, logits.shape[1])
    for interval in how.interval:
        check_draws(how.n, how.limits(interval), logits.shape[1])
        if not INTERVALS[interval].guaranteed:
            warnings.warn(
                f"the limits of {interval} do not hold with the stated confidence, least of all "
                "where nearly all votes agree: its radii are for comparison with published ones "
                "and prove nothing.",
                stacklevel=3,
            )
    if not how.family.first_layer:
        warn_of_what_follows_the_noise(model, x, how.sigma)
