"""Certify a test set into a run folder: Algorithm 1 on every image, one row each."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from holdfast import metrics
from holdfast.certify import Certificates, ClopperPearson, certify
from holdfast.certify.certify import BOUNDS
from holdfast.checks import (
    check_classes,
    check_images,
    check_logits,
    try_model,
    warn_if_training,
)
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.errors import InputError, unknown
from holdfast.models.loading import fingerprint
from holdfast.progress import Progress, silent
from holdfast.results import Run, read_about
from holdfast.tensors import device_of, eval_mode
from holdfast.types import Model

#: Interval names of the command line.
INTERVALS = {"clopper-pearson": ClopperPearson}

_VOTES_IN_A_CHUNK = 20_000


@dataclass(frozen=True, kw_only=True)
class Certification:
    """How to certify.

    Attributes:
        sigma: standard deviation σ > 0 of the noise, on the [0, 1] scale.
        n: votes for each image, at least 1.
        confidence: of each certificate, in (0, 1).
        bound: "renyi".
        interval: "clopper-pearson".
        seed: of the noise.
        batch_size: noisy images in one forward pass.
    """

    sigma: float
    n: int = 100
    confidence: float = 0.95
    bound: str = "renyi"
    interval: str = "clopper-pearson"
    seed: int = 0
    batch_size: int = 128

    def __post_init__(self) -> None:
        GaussianNoise(self.sigma)
        if self.n < 1:
            raise InputError(f"n is {self.n}, but a vote needs at least 1 draw.")
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}, but must be at least 1.")
        if self.bound not in BOUNDS:
            raise unknown("bound", self.bound, BOUNDS)
        if self.interval not in INTERVALS:
            raise unknown("interval", self.interval, INTERVALS)
        INTERVALS[self.interval](self.confidence)


def certify_data(
    model: Model,
    data: Data,
    how: Certification,
    settings: Mapping[str, Any],
    out: Path,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Certify every image of ``data`` into the run folder ``out``.

    Args:
        model: on the device that is to do the work.
        data: the test set.
        how: noise, votes, confidence and bound.
        settings: what identifies model and data, for the record.
        out: the run folder; interrupted, the same call goes on from there.
        progress: told about every chunk.

    Returns:
        One record, as ``holdfast certify --json`` prints it.
    """
    warn_if_training(model)
    with eval_mode(model):
        _probe(model, data)
        record = {
            **settings,
            "model_fingerprint": fingerprint(model),
            "data_fingerprint": data.fingerprint(),
            "images": len(data),
            "shape": list(data.shape),
            **asdict(how),
        }
        run = Run(out, "certify", record)
        if run.complete:
            progress.say(f"{out} is complete; nothing was run.")
        else:
            run.begin()
            progress.start(f"certify sigma {how.sigma:g}, n {how.n}", len(data))
            size = max(8, _VOTES_IN_A_CHUNK // how.n)
            for chunk, index in enumerate(data.batches(size)):
                if not run.has(0, chunk):
                    began = time.monotonic()
                    rows = _rows(model, data, index, how)
                    run.write(0, chunk, rows, time.monotonic() - began)
                progress.advance(len(index))
            rows = run.merge()
            cell = _cell(rows, how, settings["model"], round(run.seconds(0), 3))
            run.finish(classes=list(data.classes), cells=[cell])
            run.clear()
    cells: list[dict[str, Any]] = read_about(out)["cells"]
    return cells


def _rows(model: Model, data: Data, index: torch.Tensor, how: Certification) -> pd.DataFrame:
    found = certify(
        model,
        data.x(index).to(device_of(model)),
        sigma=how.sigma,
        n=how.n,
        confidence=how.confidence,
        bound=how.bound,
        interval=INTERVALS[how.interval],
        seed=how.seed,
        index=index,
        batch_size=how.batch_size,
    )
    return pd.DataFrame(
        {
            "index": index.numpy(),
            "label": data.y[index].numpy(),
            "prediction": found.prediction,
            "abstained": found.abstained,
            "radius": found.radius,
            "p1": found.p1,
            "p2": found.p2,
            "votes": _votes(found),
        }
    )


def _votes(found: Certificates) -> list[str]:
    """The counts as "class:votes class:votes ...", from the most votes, without the zeros."""
    return [
        " ".join(f"{k}:{counts[k]}" for k in (-counts).argsort(kind="stable") if counts[k])
        for counts in found.counts
    ]


def _cell(rows: pd.DataFrame, how: Certification, model: str, seconds: float) -> dict[str, Any]:
    return {
        "model": model,
        "sigma": how.sigma,
        "n": how.n,
        "confidence": how.confidence,
        "bound": how.bound,
        "interval": how.interval,
        "images": len(rows),
        "accuracy": float((rows["prediction"] == rows["label"]).mean()),
        "abstained": float(rows["abstained"].mean()),
        "curve": metrics.certified_curve(rows),
        "forwards": len(rows) * how.n,
        "seconds": seconds,
    }


def _probe(model: nn.Module, data: Data) -> None:
    """Check the model on a few images, before any work."""
    index = torch.arange(min(len(data), 8))
    x = data.x(index).to(device_of(model))
    check_images(x)
    with torch.no_grad():
        logits = try_model(model, x)
        check_logits(logits, len(x))
        check_classes(data.y, logits.shape[1])
