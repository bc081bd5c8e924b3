"""Train into a run folder: from an architecture and data to model.safetensors."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from holdfast import lightning
from holdfast.attacks import Attack
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.files import StrPath
from holdfast.models.centred import mean_image
from holdfast.models.checkpoint import MODEL, load_model, save_model
from holdfast.models.registry import Architecture
from holdfast.parameters import check_arguments, check_top
from holdfast.progress import Progress, silent
from holdfast.results import Run, kept_or_temporary
from holdfast.tensors import fingerprint
from holdfast.threads import suited_threads
from holdfast.training.hooks import Hook
from holdfast.training.schedule import Schedule
from holdfast.training.selection import Selection
from holdfast.training.state import CHECKPOINT
from holdfast.training.trainer import fit
from holdfast.training.validation import Validation, hold_out
from holdfast.types import Objective

__all__ = ["train_data"]


def train_data(
    architecture: Architecture,
    data: Data,
    objective: Objective,
    schedule: Schedule,
    out: StrPath | None = None,
    checkpoint_seconds: float = 60.0,
    progress: Progress = silent,
    *,
    start: nn.Module | None = None,
    held_out: int = 0,
    attack: Attack | None = None,
    top: int = 1,
    selection: Selection | None = None,
    hooks: Sequence[Hook] = (),
    keep_epochs: bool = False,
    fabric: "lightning.Fabric | None" = None,
) -> nn.Module:
    """Train a network, or load it from the run folder ``out`` if that is finished.

    With several processes all of them call this, and only the first writes.

    Args:
        architecture: of the network; its weights are drawn from the schedule's seed.
        data: the training set.
        objective: what to minimise.
        schedule: how to train.
        out: folder to keep the run in; interrupted, the same call goes on from the last checkpoint.
        checkpoint_seconds: time between checkpoints, of no consequence for the result.
        progress: told about every batch.
        start: a trained network of this architecture to begin with; left as it is.
        held_out: images of ``data`` that are not trained on but measured after every epoch.
        attack: for their robust accuracy.
        top: measure as well how often the label is among so many classes, below their number; see
            `Validation`.
        selection: which epoch's weights to keep, and when to stop.
        hooks: called after every step.
        keep_epochs: keep the network after each epoch too, in the folder ``epochs``.
        fabric: the processes, if they are started already.

    Returns:
        The trained network, in evaluation mode, on the CPU.

    Raises:
        InputError: if the network does not fit the data, or a checkpoint cannot hold it, or an
            attack has nothing to attack, or ``top`` nothing to measure.
        OutputError: if ``out`` cannot be written or holds another run.
        TrainingError: if training diverges.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.data import Data
        >>> from holdfast.models import Architecture
        >>> from holdfast.training import Adversarial, Schedule, train_data
        >>> small = Architecture(name="small", shape=(1, 8, 8), classes=3)
        >>> objective = Adversarial(PGD(Linf(0.1), steps=3, early_stop=False))
        >>> network = train_data(small, Data.of(x, y), objective, Schedule(epochs=1, batch_size=2))
        >>> network(x).shape, network.training
        (torch.Size([4, 3]), False)
    """
    check_arguments(train_data, locals())
    if not checkpoint_seconds >= 0:
        raise InputError(f"checkpoint_seconds is {checkpoint_seconds}, but must be at least 0.")
    architecture.check_loadable()
    _check_fits(architecture, data, start, held_out, attack, top)
    record = {
        "model": architecture.name,
        "normalized": architecture.normalized,
        "init": architecture.init,
        "centred": architecture.centred or None,  # None as in runs of before there was this
        "from": None if start is None else fingerprint(start),
        "data": data.name,
        "data_fingerprint": data.fingerprint(),
        "images": len(data),
        "objective": repr(objective),
        **schedule.record(),
        "held_out": held_out,
        "attack": None if attack is None else repr(attack),
        "top": None if top == 1 else top,  # None as in runs of before there was this
        "selection": None if selection is None else repr(selection),
        "hooks": [repr(hook) for hook in hooks],
        "keep_epochs": keep_epochs or None,
    }
    validation = None
    if held_out:
        data, held = hold_out(data, held_out, schedule.seed)
        validation = Validation(data=held, attack=attack, top=top)
    if start is None:
        image = mean_image(data) if architecture.centred else None
        statistics = _statistics(architecture, data)
        network = architecture.build(schedule.seed, *statistics, mean_image=image)
    else:
        network = copy.deepcopy(start)
    fabric = fabric or schedule.launch()
    if fabric.world_size > 1 and out is None:
        raise InputError("several processes share one run folder: say by out where it is.")
    epochs: list[dict[str, Any]] = []

    def work(run: Run) -> None:
        log = fit(
            network,
            data,
            objective,
            schedule,
            architecture=architecture,
            out=run.path,
            validation=validation,
            selection=selection,
            hooks=hooks,
            keep_epochs=keep_epochs,
            checkpoint_seconds=checkpoint_seconds,
            before_writing=run.check,
            progress=progress,
            fabric=fabric,
        )
        epochs.extend(log.to_dict("records"))

    def results(run: Run, _: object) -> dict[str, Any]:
        found: dict[str, Any] = {"last_epoch": epochs[-1]}
        if selection is not None:
            found["best_epoch"] = epochs[selection.best(epochs) - 1]
        save_model(run.path / MODEL, network, architecture)
        # By which a report knows who met this network, wherever the folders lie by then; of what
        # is read, as theirs is.
        return {**found, "model_fingerprint": fingerprint(load_model(run.path / MODEL))}

    with (
        suited_threads(data.shape, network, device=fabric.device, progress=progress),
        kept_or_temporary(out) as folder,
    ):
        Run.resume_or(
            folder,
            "train",
            record,
            work,
            results,
            checkpoint=CHECKPOINT,
            group=fabric,
            progress=progress,
        )
        return load_model(folder / MODEL)


def _check_fits(
    architecture: Architecture,
    data: Data,
    start: nn.Module | None,
    held_out: int,
    attack: Attack | None,
    top: int,
) -> None:
    """What would otherwise fail late, or only in the first process."""
    if start is not None and (architecture.shape, architecture.classes) != (
        data.shape,
        len(data.classes),
    ):
        raise InputError(
            f"the network to start from takes images of shape {architecture.shape} and knows "
            f"{architecture.classes} classes, but the data have shape {data.shape} and "
            f"{len(data.classes)} classes."
        )
    if architecture.denoises and held_out:
        raise InputError(
            f"{architecture.name} is a denoiser, which has no accuracy to measure on held-out "
            "images; leave held_out at 0."
        )
    if attack is not None and not held_out:
        raise InputError(
            "an attack for validation is given, but no images are held out for it; say how many "
            "with --hold-out (held_out)."
        )
    check_top(top, architecture.classes)
    if top > 1 and not held_out:
        raise InputError(
            f"top is {top}, which is measured on held-out images, but none are held out; say how "
            "many with --hold-out (held_out)."
        )


def _statistics(
    architecture: Architecture, data: Data
) -> tuple[list[float], list[float]] | tuple[None, None]:
    """Mean and deviation of each channel over the training set, for a normalised network."""
    if not architecture.normalized:
        return None, None
    count = 0
    total = square = torch.zeros(data.shape[0], dtype=torch.float64)
    for index in data.all_batches():
        x = data.x(index).double()
        count += x[:, 0].numel()
        total = total + x.sum(dim=(0, 2, 3))
        square = square + (x**2).sum(dim=(0, 2, 3))
    mean = total / count
    std = (square / count - mean**2).clamp(min=1e-12).sqrt()
    return mean.tolist(), std.tolist()
