"""What a step of Deep Defense costs: time and memory, against a Python loop over the classes.

    OMP_NUM_THREADS=1 python benchmarks/deep_defense_step.py [--model mlp] [--batch 100]

A step is one gradient in all weights of the objective with the paper's c and λ, for random images
and a network with fresh weights, all images rightly classified. The contestants:

    ours        all classes' gradients in one backward pass without a graph; then the gradient of
                the nearest boundary alone, with its graph
    together    all classes' gradients in one backward pass with their graph (is_grads_batched)
    loop        one torch.autograd.grad for each class, with its graph, else as ours
    naive       the same loop, on the whole batch until the last image is over the boundary

They take turns, after one round that does not count; the median over rounds of each time and of
each ratio to ours is printed. Seconds are of the processor on a CPU, so that other work on the
machine counts less, and of the clock on a GPU. Memory is what one step adds at its peak, in a
process of its own: of the resident set on a CPU, which counts what the allocator holds, and of
torch's allocator on a GPU.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor, nn

from holdfast.attacks import deepfool
from holdfast.attacks.hyperplane import Plane, _nearest, ranked_classes
from holdfast.gradients import jacobian
from holdfast.models import Architecture
from holdfast.random import Stream
from holdfast.tensors import norm
from holdfast.training import DeepDefense

Step = Callable[[nn.Module, Tensor, Tensor], list[Tensor]]


def ours(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    rng = Stream.of(0, torch.arange(len(x), device=x.device))
    loss, _ = DeepDefense(overshoot=0.02)(model, x, y, rng)
    return list(torch.autograd.grad(loss, list(model.parameters())))


def together(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    with mock.patch.object(deepfool, "nearest_plane", _together):
        return ours(model, x, y)


def loop(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    with mock.patch.object(deepfool, "nearest_plane", _looped):
        return ours(model, x, y)


def naive(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    total, active = torch.zeros_like(x), torch.ones(len(x), dtype=torch.bool, device=x.device)
    others = ranked_classes(model(x).detach(), y)
    for _ in range(5):
        at = x + total
        plane = _looped(model, at if at.requires_grad else at.requires_grad_(), y, others)
        flat = plane.normal.flatten(1)
        length = (-plane.value / flat.square().sum(dim=1))[:, None] * active[:, None]
        total = total + (length * flat).view_as(x)
        with torch.no_grad():
            active = active & (model(x + 1.02 * total).argmax(dim=1) == y)
        if not active.any():
            break
    ratio = 1.02 * norm(total, 2) / norm(x, 2)
    loss = nn.functional.cross_entropy(model(x), y) + 15 * (-25 * ratio).exp().mean()
    return list(torch.autograd.grad(loss, list(model.parameters())))


def _together(
    model: nn.Module, x: Tensor, y: Tensor, others: Tensor, p: float = 2.0, **_: object
) -> Plane:
    return _nearest(*jacobian(model, x, others, minus=y, create_graph=True), y, others, p)[0]


def _looped(
    model: nn.Module, x: Tensor, y: Tensor, others: Tensor, p: float = 2.0, **_: object
) -> Plane:
    x = x if x.requires_grad else x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(x)
        minus = logits.gather(1, others) - logits.gather(1, y[:, None])
        grads = [
            torch.autograd.grad(minus[:, k].sum(), x, create_graph=True)[0]
            for k in range(minus.shape[1])
        ]
        return _nearest(logits, torch.stack(grads, dim=1), y, others, p)[0]


STEPS: dict[str, Step] = {"ours": ours, "together": together, "loop": loop, "naive": naive}


def problem(name: str, batch: int, device: torch.device) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = Architecture(name=name, shape=(1, 28, 28), classes=10).build(0).to(device)
    model = model.eval().to(memory_format=torch.channels_last)  # as the trainer has it
    x = torch.rand(batch, 1, 28, 28, device=device)
    with torch.no_grad():
        return model, x, model(x).argmax(dim=1)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        began = time.process_time()
        work()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def peak(step: Step, model: nn.Module, x: Tensor, y: Tensor) -> float:
    """MiB that one step adds at its peak, after one on two images that loads what it needs."""
    step(model, x[:2], y[:2])
    if x.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(model, x, y)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(model, x, y)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10  # KiB on Linux


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mlp", help="an architecture, such as mlp or lenet")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", choices=STEPS, help="print one contestant's memory only")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, x, y = problem(options.model, options.batch, device)
    if options.peak:
        print(peak(STEPS[options.peak], model, x, y))
        return
    rounds = []
    for _ in range(options.rounds + 1):
        taken = {
            name: seconds(lambda step=step: step(model, x, y), device)
            for name, step in STEPS.items()
        }
        rounds.append(taken)
    expected = torch.cat([grad.flatten() for grad in loop(model, x, y)])
    found = torch.cat([grad.flatten() for grad in ours(model, x, y)])
    apart = float((found - expected).norm() / expected.norm())
    print(f"{options.model}, batch {options.batch}, {device}, {torch.get_num_threads()} threads")
    print(f"relative distance of our gradient from the loop's: {apart:.1e}\n")
    print("| | ms | over ours | MiB at the peak |\n| --- | --- | --- | --- |")
    for name in STEPS:
        command = [sys.executable, __file__, "--model", options.model, "--peak", name]
        command += ["--batch", str(options.batch)]
        memory = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        median = statistics.median(taken[name] for taken in rounds[1:])
        ratio = statistics.median(taken[name] / taken["ours"] for taken in rounds[1:])
        print(f"| {name} | {1000 * median:.1f} | {ratio:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
