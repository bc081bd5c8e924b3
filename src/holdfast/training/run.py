"""Train into a run folder: from an architecture and data to model.safetensors."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.data import Data
from holdfast.models.checkpoint import MODEL, load_model, save_model
from holdfast.models.registry import Architecture
from holdfast.progress import Progress, silent
from holdfast.results import Run
from holdfast.training.checkpoint import CHECKPOINT
from holdfast.training.trainer import Schedule, fit
from holdfast.types import Objective


def train_data(
    architecture: Architecture,
    data: Data,
    objective: Objective,
    schedule: Schedule,
    settings: Mapping[str, Any],
    out: Path,
    checkpoint_seconds: float = 60.0,
    progress: Progress = silent,
) -> nn.Module:
    """Train a network into the run folder ``out``, or load it from there if it is finished.

    Args:
        architecture: of the network; its weights are drawn from the schedule's seed.
        data: the training set.
        objective: what to minimise.
        schedule: everything else.
        settings: what identifies the data, for the record.
        out: the run folder; interrupted, the same call goes on from the last checkpoint.
        checkpoint_seconds: time between checkpoints, of no consequence for the result.
        progress: told about every batch.

    Returns:
        The trained network, in evaluation mode, on the CPU.
    """
    record = {
        "model": architecture.name,
        "normalized": architecture.normalized,
        **settings,
        "data_fingerprint": data.fingerprint(),
        "images": len(data),
        "objective": repr(objective),
        **asdict(schedule),
    }
    network = architecture.build(schedule.seed, *_statistics(architecture, data))
    run = Run(out, "train", record)
    if run.complete:
        progress.say(f"{out} is complete; nothing was run.")
    else:
        run.begin()
        log = fit(
            network,
            data,
            objective,
            schedule,
            architecture=architecture,
            out=out,
            checkpoint_seconds=checkpoint_seconds,
            progress=progress,
        )
        save_model(out / MODEL, network, architecture)
        run.finish(last_epoch=log.iloc[-1].to_dict())
        (out / CHECKPOINT).unlink()
    return load_model(out / MODEL)


def _statistics(
    architecture: Architecture, data: Data
) -> tuple[list[float], list[float]] | tuple[None, None]:
    """Mean and deviation of each channel over the training set, for a normalised network."""
    if not architecture.normalized:
        return None, None
    count = 0
    total = square = torch.zeros(data.shape[0], dtype=torch.float64)
    for index in data.batches(1024):
        x = data.x(index).double()
        count += x[:, 0].numel()
        total = total + x.sum(dim=(0, 2, 3))
        square = square + (x**2).sum(dim=(0, 2, 3))
    mean = total / count
    std = (square / count - mean**2).clamp(min=1e-12).sqrt()
    return mean.tolist(), std.tolist()
