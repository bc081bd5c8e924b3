"""What a step of Deep Defense costs: time and memory, against Python loops over the classes.

    OMP_NUM_THREADS=1 python benchmarks/deep_defense_step.py [--model mlp] [--data mnist]

A step is one gradient in all weights of the objective with the paper's c and λ, all images rightly
classified; without ``--data`` for random images and fresh weights, with it for images of its test
set and weights that were trained a little, from where Deep Defense starts. The contestants:

    ours        one forward pass; all classes' gradients in one backward pass without a graph; then
                the gradient of the nearest boundary alone, with its graph
    together    all classes' gradients in one backward pass with their graph (is_grads_batched)
    lean        one torch.autograd.grad with its graph for each class but the label, else as ours:
                in one pass the gradient of z_k - z_y, and images over the boundary leave the batch
    loop        the authors' procedure with autograd for their reverse network: one
                torch.autograd.grad with its graph for each of the K classes, on the whole batch,
                until the last image is over the boundary
    images      the same for each image by itself (``--images``), ended when that image is over
    passes      nothing but what no step can spare: at each step of DeepFool, on the images that are
                not over yet, one forward pass, the gradients of the nine classes without a graph,
                class by class, the nearest one's again with its graph; one forward pass for the
                classification loss, and the way back through all graphs. The loop's time over
                theirs is what a step can be faster than the loop at most

They take turns, after one round that does not count; the median over rounds of each time and of
each ratio to ours is printed, and the memory at the peak; pairs.py says what a second and what
memory is.
"""

import argparse
import math
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from unittest import mock

import torch
from pairs import in_turns, peak, ratio
from torch import Tensor, nn

from holdfast import data
from holdfast.attacks import deepfool
from holdfast.attacks.engine import hyperplane
from holdfast.attacks.engine.hyperplane import Plane
from holdfast.gradients import Forward
from holdfast.models import Architecture
from holdfast.random import Stream
from holdfast.tensors import norm
from holdfast.threat import L2
from holdfast.training import DeepDefense

Step = Callable[[nn.Module, Tensor, Tensor], list[Tensor]]


def ours(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    rng = Stream.of(0, torch.arange(len(x), device=x.device))
    loss, _ = DeepDefense(overshoot=0.02)(model, x, y, rng)
    return list(torch.autograd.grad(loss, list(model.parameters())))


def together(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    with _planes_by(_together):
        return ours(model, x, y)


def lean(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    with _planes_by(_looped):
        return ours(model, x, y)


@contextmanager
def _planes_by(nearest: Callable[..., Plane]) -> Iterator[None]:
    with (
        mock.patch.object(deepfool, "nearest_from", nearest),
        mock.patch.object(hyperplane, "nearest_from", nearest),
    ):
        yield


def loop(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    ratio = 1.02 * norm(_walk(model, x, y), 2) / norm(x, 2)
    loss = nn.functional.cross_entropy(model(x), y) + 15 * (-25 * ratio).exp().mean()
    return list(torch.autograd.grad(loss, list(model.parameters())))


def images(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    total = torch.cat([_walk(model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    ratio = 1.02 * norm(total, 2) / norm(x, 2)
    loss = nn.functional.cross_entropy(model(x), y) + 15 * (-25 * ratio).exp().mean()
    return list(torch.autograd.grad(loss, list(model.parameters())))


def _walk(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Σ r of DeepFool, each step as its algorithm 2 says: w_k = ∇z_k - ∇z_y for every k."""
    total, active = torch.zeros_like(x), torch.ones(len(x), 1, device=x.device)
    row = torch.arange(len(x), device=x.device)
    for _ in range(5):
        at = x + total
        at = at if at.requires_grad else at.requires_grad_()
        z = model(at)
        grads = [
            torch.autograd.grad(z[:, k].sum(), at, create_graph=True)[0].flatten(1)
            for k in range(z.shape[1])
        ]
        w = torch.stack(grads, dim=1)
        w, f = w - w[row, y][:, None], z - z[row, y][:, None]
        square = w.square().sum(dim=2)
        distance = f.detach().square() / square.detach()
        nearest = distance.scatter(1, y[:, None], torch.inf).argmin(dim=1)
        length = (f[row, nearest].abs() / square[row, nearest])[:, None]
        total = total + (active * length * w[row, nearest]).view_as(x)
        with torch.no_grad():
            active = active * (model(x + 1.02 * total).argmax(dim=1) == y)[:, None]
        if not active.any():
            break
    return total


def _together(forward: Forward, y: Tensor, others: Tensor, *, p: float, **_: object) -> Plane:
    grads = forward.gradients(others, minus=y, create_graph=True)
    return hyperplane._nearest(forward.logits, grads, y, others, p)[0]


def _looped(forward: Forward, y: Tensor, others: Tensor, *, p: float, **_: object) -> Plane:
    grads = [
        forward.gradients(others[:, k : k + 1], minus=y, create_graph=True)
        for k in range(others.shape[1])
    ]
    return hyperplane._nearest(forward.logits, torch.cat(grads, dim=1), y, others, p)[0]


def passes(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    loss = nn.functional.cross_entropy(model(x), y)
    for count in _not_over(model, x, y):
        at = x[:count].detach().requires_grad_()
        logits = model(at)
        for k in range(1, logits.shape[1]):
            torch.autograd.grad(logits[:, k].sum(), at, retain_graph=True)
        (nearest,) = torch.autograd.grad(logits[:, 0].sum(), at, create_graph=True)
        loss = loss + nearest.square().sum()
    return list(torch.autograd.grad(loss, list(model.parameters())))


@cache
def _not_over(model: nn.Module, x: Tensor, y: Tensor) -> list[int]:
    """How many images each step of DeepFool still has."""
    counts: list[int] = []
    deepfool.deepfool_perturbation(
        model,
        x,
        y,
        threat=L2(math.inf),
        rng=Stream.of(0, torch.arange(len(x), device=x.device)),
        steps=5,
        box=False,
        to_label=True,
        callback=lambda step: counts.append(int((~step.reached).sum())),
    )
    return counts[:5]


STEPS: dict[str, Step] = {
    "ours": ours,
    "together": together,
    "lean": lean,
    "loop": loop,
    "passes": passes,
}


def problem(
    name: str, batch: int, device: torch.device, source: str | None
) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    test = data.load(source, limit=batch) if source else None
    channels, height, width = test.shape if test else (1, 28, 28)
    model = Architecture(name=name, shape=(channels, height, width), classes=10).build(0)
    model = model.to(device).to(memory_format=torch.channels_last)  # as the trainer has it
    if source:
        trained(model, source, device)
    model.eval()
    x = (
        test.x(torch.arange(len(test))) if test else torch.rand(batch, channels, height, width)
    ).to(device)
    with torch.no_grad():
        return model, x, model(x).argmax(dim=1)


def trained(model: nn.Module, source: str, device: torch.device) -> None:
    """A third of an epoch of MNIST: enough for 97 % and for boundaries that bend."""
    train = data.load(source, "train", limit=20_000)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for index in train.batches(100):
        x, y = train.x(index).to(device), train.y[index].to(device)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.zero_grad()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mlp", help="an architecture, such as mlp or lenet")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", help="a data set, such as mnist, to train on and to step on")
    parser.add_argument("--images", action="store_true", help="also a loop over the images")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, x, y = problem(options.model, options.batch, device, options.data)
    steps = STEPS | ({"images": images} if options.images else {})
    works = {name: partial(step, model, x, y) for name, step in steps.items()}
    times = in_turns(works, options.rounds, device)
    expected = torch.cat([grad.flatten() for grad in lean(model, x, y)])
    found = torch.cat([grad.flatten() for grad in ours(model, x, y)])
    apart = float((found - expected).norm() / expected.norm())
    print(f"{options.model}, batch {options.batch}, {device}, {torch.get_num_threads()} threads")
    print(f"relative distance of our gradient from the lean loop's: {apart:.1e}\n")
    print("| | ms | over ours | the loop's over it | MiB at the peak |")
    print("| --- | --- | --- | --- | --- |")
    for name, work in works.items():
        median = 1e3 * statistics.median(times[name])
        over = ratio(times[name], times["ours"]).median
        faster = ratio(times["loop"], times[name]).median
        memory = peak(work, device)
        print(f"| {name} | {median:.1f} | {over:.2f} | {faster:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
