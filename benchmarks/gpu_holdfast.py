"""What Holdfast costs beyond the passes on a GPU: sections of speed_gpu.py."""

import statistics
import warnings
from collections.abc import Iterator
from functools import partial
from unittest import mock

import attack_overhead
import certify_speed
import deep_defense_step
import torch
import training_step
from gpu_bench import Bench, Item, Rows, busy
from pairs import Work, in_turns, peak, ratio
from torch import Tensor, nn

from holdfast.attacks import PGD, Attack
from holdfast.batch_size import free_memory, that_fits
from holdfast.memory import AtOnce
from holdfast.models import Architecture
from holdfast.random import Stream
from holdfast.threat import Linf
from holdfast.training import Schedule

#: Name, shape of the images, steps of an attack, batches.
ATTACKED = (
    ("small", (1, 28, 28), 20, (1, 64, 1024)),
    ("torchvision/resnet18", (3, 32, 32), 10, (1, 64, 1024)),
)

#: Name, shape, classes, images, votes of each, images at once.
SAMPLED = (
    ("small", (1, 28, 28), 10, 16, 2048, 1024),
    ("mlp", (1, 28, 28), 10, 16, 2048, 1024),
    ("small", (1, 28, 28), 10, 16, 512, 128),
    ("torchvision/resnet50", (3, 224, 224), 1000, 2, 512, 256),
)

#: Bytes that are left free where memory is to be scarce.
_SCARCE = 6 * 2**30


def items(bench: Bench) -> Iterator[Item]:
    """In the order of what they are worth."""
    for name, shape, steps, batches in ATTACKED:
        for batch in batches:
            rows = partial(overhead, bench, name, shape, steps, batch)
            yield Item("overhead", f"{name}, {batch}", 6, rows)
    for row in SAMPLED:
        yield Item("sampling", f"{row[0]}, {row[-1]}", 6, partial(sampling, bench, *row))
    for row in () if bench.device == "cpu" else SAMPLED:
        rows = partial(sampling, bench, *row, one_kernel=True)
        yield Item("sampling", f"{row[0]}, {row[-1]}, one kernel", 6, rows)
    for name in ("A", "small"):
        yield Item("training", name, 8, partial(training, bench, name))
    yield Item("training", "Deep Defense", 6, partial(deep_defense, bench))
    yield Item("batch size", "resnet50", 12, partial(batch_size, bench))


def overhead(bench: Bench, name: str, shape: tuple[int, int, int], steps: int, batch: int) -> Rows:
    """Each attack over the bare loop of gradients: time, memory at the peak, kernels of a step."""
    model = bench.network(name, shape)
    steps, batch = (2, min(batch, 2)) if bench.quick else (steps, batch)
    works = attack_overhead.contestants(model, batch, shape, steps)
    times = in_turns(works, bench.rounds, bench.device)
    memory = {label: peak(work, bench.device) for label, work in works.items()}
    for label in works:
        watched = busy(works[label], bench.device)
        each = statistics.median(times[label]) / steps
        yield {
            "network": f"{name.rpartition('/')[2]}, {'×'.join(map(str, shape[1:]))}",
            "images": batch,
            "attack": label,
            "a step, ms": 1e3 * each,
            "over bare": ratio(times[label], times["bare"]),
            "memory, MiB": memory[label],
            "memory over bare": memory[label] / memory["bare"],
            "GPU busy": watched and min(1.0, watched[0] / (each * steps)),
            "kernels a step": watched and watched[1] / steps,
        }


def sampling(
    bench: Bench,
    name: str,
    shape: tuple[int, int, int],
    classes: int,
    images: int,
    votes: int,
    batch: int,
    one_kernel: bool = False,
) -> Rows:
    """Each way to the same forward passes over them alone; or ours with noise by one kernel."""
    if bench.quick:
        images, votes, batch = 2, 4, 4
    model = bench.network(name, shape, classes)
    works = certify_speed.contestants(model, bench.images(images, shape), votes, batch)
    if one_kernel:
        works = {"bare": works["bare"], **_one_kernel(works["ours"], bench)}
    times = in_turns(works, bench.rounds, bench.device)
    for label in works:
        watched = busy(works[label], bench.device)
        taken = statistics.median(times[label])
        yield {
            "network": f"{name.rpartition('/')[2]}, {'×'.join(map(str, shape[1:]))}",
            "images at once": batch,
            "way": label,
            "votes/s": images * votes / max(taken, 1e-9),
            "over bare": ratio(times[label], times["bare"]),
            "GPU busy": watched and min(1.0, watched[0] / taken),
            "kernels a batch": watched and watched[1] / -(-images * votes // batch),
        }


def _one_kernel(ours: Work, bench: Bench) -> dict[str, Work]:
    """Our sampling with its noise made by gpu_noise.py, by a name that says how far that is off."""
    import gpu_noise  # and Triton, which is not everywhere

    def work() -> None:
        with mock.patch.object(Stream, "normal", gpu_noise.normal):
            ours()

    stream = Stream.of(0, torch.arange(64, device=bench.device))
    drawn, found = stream.normal((3, 32, 32)), gpu_noise.normal(stream, (3, 32, 32))
    return {f"ours, noise by one kernel, off by {float((drawn - found).abs().max()):.1g}": work}


def training(bench: Bench, name: str) -> Rows:
    """Steps of the trainer over bare passes, as training_step.py has them."""
    batch, steps = (4, 3) if bench.quick else (512, 12)
    architecture = Architecture(name=name, shape=(1, 28, 28), classes=10)
    schedule = Schedule(epochs=1, batch_size=batch, accelerator=bench.device)
    for label, (objective, passes) in training_step.contests(7).items():
        turns = training_step.taken(architecture, objective, passes, schedule, steps)
        yield {
            "network": name,
            "images": batch,
            "objective": label,
            "beside": f"{sum(passes)} bare passes",
            "beside, ms": 1e3 * statistics.median(turns.bare),
            "a step, ms": 1e3 * statistics.median(turns.steps),
            "over it": ratio(turns.steps, turns.bare),
        }


def deep_defense(bench: Bench) -> Rows:
    """A step over the authors' loop, as deep_defense_step.py has them."""
    for name in ("mlp", "lenet"):
        model, x, y = deep_defense_step.problem(
            name, 4 if bench.quick else 100, torch.device(bench.device), None
        )
        steps = deep_defense_step.STEPS
        works = {label: partial(steps[label], model, x, y) for label in ("ours", "loop")}
        times = in_turns(works, bench.rounds, bench.device)
        yield {
            "network": name,
            "images": len(x),
            "objective": "Deep Defense",
            "beside": "the authors' loop over the classes",
            "beside, ms": 1e3 * statistics.median(times["loop"]),
            "a step, ms": 1e3 * statistics.median(times["ours"]),
            "over it": ratio(times["ours"], times["loop"]),
        }


def _in_batches(attack: Attack, model: nn.Module, x: Tensor, y: Tensor, size: int) -> list[Tensor]:
    """What an attack makes of images, so many at once."""
    return [attack(model, a, b) for a, b in zip(x.split(size), y.split(size), strict=True)]


def batch_size(bench: Bench) -> Rows:
    """What is chosen by free memory, whether an attack holds in it, and what happens if not."""
    shape, device = ((3, 32, 32), torch.device("cpu")) if bench.quick else ((3, 224, 224), None)
    device = device or torch.device(bench.device, 0)
    model = bench.network("torchvision/resnet50", shape, 1000)
    attack = PGD(Linf(0.01), steps=2, early_stop=False)
    filler = None
    for free in ("all", "scarce"):
        if free == "scarce":
            if device.type == "cpu":
                return
            torch.cuda.empty_cache()
            filler = torch.empty(
                max(0, (free_memory(device) or 0) - _SCARCE), dtype=torch.uint8, device=device
            )
        chosen = that_fits(model, bench.images(8, shape))
        for asked, size in (("auto", chosen), ("512", 512)):
            if asked == "512" and (free == "all" or chosen == 512):
                continue
            at_once = AtOnce(size)
            x = bench.images(2 if bench.quick else size, shape)
            y = torch.zeros(len(x), dtype=torch.int64, device=x.device)
            before = (free_memory(device) or 0) / 2**30
            with warnings.catch_warnings(action="ignore"):  # that it is halved is what is shown
                work = partial(at_once.fit, partial(_in_batches, attack, model, x, y))
                used = peak(work, bench.device) / 2**10
            yield {
                "free, GiB": before,
                "asked": asked,
                "chosen": size,
                "held": at_once.size,
                "at the peak, GiB": used,
                "of free": used / before,
            }
    del filler
