"""``holdfast train``: a network, an objective and data make a checkpoint."""

from pathlib import Path
from typing import Literal

from holdfast import data as datasets
from holdfast.cli import registry
from holdfast.cli.common import device
from holdfast.models.registry import Architecture
from holdfast.progress import showing
from holdfast.training import Schedule, train_data


def train(
    *,
    model: str,
    out: Path,
    data: str = "digits",
    data_dir: Path | None = None,
    limit: int | None = None,
    objective: str = "standard",
    norm: str | None = None,
    eps: float | None = None,
    steps: int | None = None,
    step_size: float | None = None,
    sigma: float | None = None,
    gamma: float | None = None,
    epochs: int = 20,
    batch_size: int = 128,
    optimizer: Literal["adam", "sgd"] = "adam",
    lr: float = 1e-3,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    decay: Literal["constant", "cosine"] = "cosine",
    normalize: bool = False,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    accelerator: str = "auto",
    checkpoint_seconds: float = 60.0,
    seed: int = 0,
    quiet: bool = False,
) -> None:
    """Train a network.

    Run the same command again after an interruption and it goes on from the last checkpoint. The
    folder then holds model.safetensors (the weights), run.json (all settings), metrics.csv and
    TensorBoard files (the training curves).

    Args:
        model: Architecture; `holdfast list` shows them.
        out: Folder for the run.
        data: Data set by name (`holdfast list`), or the path of an image folder.
        data_dir: Folder with the files of named data sets; else HOLDFAST_DATA.
        limit: Train on this many images only; all by default.
        objective: What to minimise (`holdfast list`), with parameters if wanted, such as
            "trades(eps=0.3, steps=10, beta=6)"; the next six options fill those of the same name.
        norm: Norm of the training attack: linf, l2 or l1; linf by default.
        eps: Size of the training attack, on the [0, 1] scale.
        steps: Steps of the training attack, 10 by default.
        step_size: Step of the training attack; 2.5 eps / steps by default.
        sigma: Standard deviation of the objective's noise, on the [0, 1] scale.
        gamma: Weight of the stability term, 1 by default.
        epochs: Passes over the training set.
        batch_size: Images in a step.
        optimizer: adam or sgd.
        lr: Learning rate at the start.
        momentum: Momentum of sgd.
        weight_decay: Penalty on the squared weights.
        decay: Learning rate over time: constant, or cosine down to 0.
        normalize: Make normalisation by the training set's mean and deviation the first layer.
        precision: 32-true, or bf16-mixed, which is faster where the hardware has it.
        accelerator: auto, cpu, cuda, ... as Lightning Fabric names them.
        checkpoint_seconds: Time between checkpoints; there is one after every epoch as well.
        seed: Of the initial weights, the order of the data and all noise.
        quiet: Show no progress.
    """
    schedule = Schedule(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        decay=decay,
        seed=seed,
        precision=precision,
        accelerator=accelerator,
    )
    images = datasets.load(data, "train", data_dir=data_dir, limit=limit)
    flags = {
        "norm": norm,
        "eps": eps,
        "steps": steps,
        "step_size": step_size,
        "sigma": sigma,
        "gamma": gamma,
    }
    goal = registry.objective(objective, flags, images, device(accelerator))
    channels, height, width = images.shape
    architecture = Architecture(
        name=model,
        shape=(channels, height, width),
        classes=len(images.classes),
        normalized=normalize,
    )
    with showing(not quiet) as progress:
        settings = {"data": data, "limit": limit}
        train_data(
            architecture, images, goal, schedule, settings, out, checkpoint_seconds, progress
        )
        progress.say(f"trained network: {out}")
