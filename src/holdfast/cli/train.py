"""``holdfast train``: a network, an objective and data make a checkpoint."""

from pathlib import Path
from typing import Literal

from torch import nn

from holdfast import data as datasets
from holdfast.attacks import Attack
from holdfast.cli import registry, schedules
from holdfast.cli.options import Number, Words
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.models.registry import DENOISERS, Architecture, Initial
from holdfast.progress import showing
from holdfast.training import (
    Augmented,
    Denoising,
    Processes,
    Schedule,
    Selection,
    SupervisedDenoising,
    start_from,
    train_data,
)
from holdfast.types import Objective


def train(
    *,
    out: Path,
    model: str | None = None,
    from_: Path | None = None,
    data: str = "digits",
    data_dir: Path | None = None,
    images: int | None = None,
    objective: str = "standard",
    norm: str | None = None,
    eps: Number | None = None,
    shift: int = 0,
    flip: bool = False,
    epochs: int = 20,
    batch_size: int = 128,
    accumulate: int = 1,
    optimizer: str = "adam",
    schedule: str = "cosine",
    clip: Number | None = None,
    ema: Number | None = None,
    hooks: Words = Words(),
    hold_out: int = 0,
    val_attack: str | None = None,
    val_norm: str | None = None,
    val_eps: Number | None = None,
    top: int = 1,
    best: str | None = None,
    patience: int | None = None,
    normalize: bool = False,
    centre: bool = False,
    init: Initial | None = None,
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
    accelerator: str = "auto",
    devices: int = 1,
    num_nodes: int = 1,
    strategy: Literal["auto", "ddp"] = "auto",
    checkpoint_seconds: Number = Number(60),
    keep_epochs: bool = False,
    seed: int = 0,
    quiet: bool = False,
) -> None:
    r"""Train a network.

    Run the same command again after an interruption and it goes on from the last checkpoint. The
    folder then holds model.safetensors (the weights), run.json (all settings), metrics.csv and
    TensorBoard files (the training curves).

    Example:
        holdfast train --model small --objective "pgd(eps=0.15, steps=7)" --out runs/robust
        holdfast train --data mnist --model lenet --optimizer "sgd(lr=0.1, momentum=0.9)" \
            --schedule "cosine(warm_up=2)" --out runs/lenet
        holdfast train --config recipes/madry-mnist-short.yaml --out runs/madry

    Args:
        out: Folder for the run.
        model: Architecture; `holdfast list` shows them, torchvision/NAME and timm/NAME work too;
            with layers in front if wanted, "binarise(threshold=0.5) | A". Not needed with --from.
        from_: Finished run folder, or model.safetensors file, whose network is trained on; or a
            library's published one, "torchvision/alexnet(weights='DEFAULT')".
        data: Data set (`holdfast list`), with parameters if wanted, such as
            "imagenet(resize=342, crop=299)", or the path of an image folder.
        data_dir: Folder of named data sets and image folders; else HOLDFAST_DATA.
        images: Train on this many images only; all by default.
        objective: What to minimise (`holdfast list`), with parameters if wanted, such as
            "trades(steps=10, step_size=0.1, beta=6)" or "stability(sigma=0.3, gamma=1)".
        norm: Norm of the training attack: linf, l2 or l1; linf by default.
        eps: Size of the training attack, on the [0, 1] scale, such as 0.3 or 8/255.
        shift: Shift every image at random, by up to so many pixels each way, anew each time.
        flip: Mirror every image with probability 1/2, anew each time.
        epochs: Passes over the training set.
        batch_size: Images in a step, over all processes and parts.
        accumulate: Parts of each process's share of a step, for batches that do not fit in memory.
        optimizer: adam, adamw, sgd or rmsprop, with parameters if wanted, such as
            "sgd(lr=0.1, momentum=0.9, weight_decay=5e-4)"; lr is 1e-3 by default.
        schedule: The learning rate over time: constant, cosine down to 0, "step(every=30)",
            "multi-step(at=[30, 60], factor=0.1)" or "one-cycle(peak=0.3)"; each with a rise from a
            tenth over the first epochs if wanted, "cosine(warm_up=2)".
        clip: Largest l2 norm of the gradient, which is scaled down to it; none by default.
        ema: Decay of an exponential moving average of the weights, such as 0.999, which then are
            those that are validated and saved; none by default.
        hooks: What acts on the weights after each of the optimiser's steps, between commas:
            "parseval(beta=1e-4)", a step towards layers that lengthen no input.
        hold_out: Training images, of all classes, that are not trained on but measured after every
            epoch.
        val_attack: Attack for their robust accuracy, such as "pgd(steps=10)".
        val_norm: Norm of that attack; --norm by default.
        val_eps: Size of that attack; --eps by default.
        top: Measure as well how often the label of a held-out image is among so many classes,
            before the attack and after it: with 5, val_top5 and val_robust_top5 in metrics.csv.
            An attack on the first class leaves an upper limit; with 5, one that aims below the
            fifth is --val-attack "pgd(goal=top_margin(top=5))".
        best: Keep the epoch that is best by this column of metrics.csv, such as val_accuracy or
            val_top5: the largest of an accuracy, the smallest of anything else. By default the last
            epoch is kept; with --patience the one of the best val_robust_accuracy, or with --top 5
            of the best val_robust_top5.
        patience: Stop after so many epochs without a better one; never by default.
        normalize: Make normalisation by the training set's mean and deviation the first layer.
        centre: Make 255 (x - the training set's mean image) the first layer, as for Deep Defense.
        init: How the initial weights are drawn, with zero biases: keras, Glorot's uniform draw
            (He's normal one in D), or gaussian, N(0, 0.01²), for --centre; by default as the
            architecture says.
        precision: 32-true; bf16-mixed, which is faster where the hardware has it; or 16-mixed.
        accelerator: auto, cpu, cuda, ... as Lightning Fabric names them.
        devices: Devices on each node, each with a process of its own; torchrun's number of
            processes if that starts them.
        num_nodes: Nodes; start the command on each, as torchrun or Slurm does.
        strategy: How Lightning Fabric connects processes: auto or ddp.
        checkpoint_seconds: Time between checkpoints; there is one after every epoch as well.
        keep_epochs: Keep the network after each epoch as well, for holdfast diagnose convergence.
        seed: Of the initial weights, the order of the data and all noise.
        quiet: Show no progress.
    """
    stepping = schedules.optimizer(optimizer)
    plan = Schedule(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=stepping.kind,
        lr=stepping.lr,
        rate=schedules.rate(schedule),
        weight_decay=stepping.weight_decay,
        clip=clip,
        accumulate=accumulate,
        ema=ema,
        seed=seed,
        precision=precision,
        accelerator=accelerator,
        processes=Processes(devices=devices, num_nodes=num_nodes, strategy=strategy),
    )
    after_steps = [registry.hook(spec) for spec in hooks]
    met, size = norm if val_norm is None else val_norm, eps if val_eps is None else val_eps
    attack = on_held_out(val_attack, met, size)
    for option, given in (("--val-norm", val_norm), ("--val-eps", val_eps)):
        if given is not None and attack is None:
            raise InputError(f"{option} is about an attack on held-out images: give --val-attack.")
    robust = ["val_robust_accuracy", f"val_robust_top{top}"]
    if best is None and patience is not None:
        if attack is None or not hold_out:
            raise InputError(
                "--patience waits for a better robust accuracy on held-out images: give --hold-out "
                "and --val-attack, or another column to go by, --best."
            )
        best = robust[top > 1]
    selection = None
    if best in robust and (attack is None or not hold_out):
        raise InputError(
            f"{best} is the accuracy under an attack on held-out images: give --hold-out and "
            "--val-attack."
        )
    if best is not None:
        larger = best.endswith(("accuracy", f"_top{top}"))
        selection = Selection(metric=best, larger=larger, patience=patience)
    pictures = datasets.load(data, "train", data_dir=data_dir, limit=images)
    start, architecture = _network(model, from_, pictures, normalize, centre, init)
    fabric = plan.launch()
    goal = registry.objective(objective, pictures, fabric.device, norm=norm, eps=eps)
    _check_kind(objective, goal, architecture)
    if len(pictures.classes) < 2 and architecture.name not in DENOISERS:
        raise InputError(
            f"{data} has one class, {pictures.classes[0]}, and no network tells it apart."
        )
    if shift or flip:
        goal = Augmented(objective=goal, shift=shift, flip=flip)
    with showing(not quiet and fabric.is_global_zero) as progress:
        train_data(
            architecture,
            pictures,
            goal,
            plan,
            out,
            checkpoint_seconds,
            progress,
            start=start,
            held_out=hold_out,
            attack=attack,
            top=top,
            selection=selection,
            hooks=after_steps,
            keep_epochs=keep_epochs,
            fabric=fabric,
        )
        progress.say(f"trained network: {out}")


def on_held_out(spec: str | None, norm: str | None, eps: float | None) -> Attack | None:
    """The attack on held-out images, in ℓ∞ if neither it nor training names a norm.

    Raises:
        InputError: if there is one, and neither it nor training names a size.
    """
    if spec is None:
        return None
    if eps is None:
        raise InputError("--val-attack needs --val-eps.")
    return registry.attack(spec, registry.threat("linf" if norm is None else norm, eps))


def _network(
    model: str | None,
    start: Path | None,
    images: Data,
    normalize: bool,
    centre: bool,
    init: Initial | None,
) -> tuple[nn.Module | None, Architecture]:
    """What to train: a network with weights, or only its architecture."""
    if start is not None:
        network, architecture = start_from(start)
        if model not in (None, architecture.name) or (normalize and not architecture.normalized):
            raise InputError(
                f"{start} holds a network of architecture {architecture.name}, normalised: "
                f"{architecture.normalized}; leave out --model and --normalize with --from."
            )
        if init not in (None, architecture.init):
            raise InputError(
                f"{start} holds weights already, but --init {init} draws fresh ones; leave out "
                "--init with --from."
            )
        if centre and not architecture.centred:
            raise InputError(
                f"{start} holds a network that takes off no mean image; leave out --centre with "
                "--from."
            )
        return network, architecture
    if model is None:
        raise InputError("train needs --model, an architecture, or --from, a trained network.")
    channels, height, width = images.shape
    return None, Architecture(
        name=model,
        shape=(channels, height, width),
        classes=len(images.classes),
        normalized=normalize,
        init=init,
        centred=centre,
    )


def _check_kind(name: str, objective: Objective, architecture: Architecture) -> None:
    """Denoisers are trained by denoising, and classifiers by everything else."""
    denoising = isinstance(objective, Denoising | SupervisedDenoising)
    if denoising and not architecture.denoises:
        raise InputError(
            f"objective {name} trains denoisers, but {architecture.name} is a classifier; choose "
            f"{', '.join(DENOISERS)}."
        )
    if architecture.denoises and not denoising:
        raise InputError(
            f"objective {name} trains classifiers, but {architecture.name} is a denoiser; choose "
            "dae or sdae."
        )
