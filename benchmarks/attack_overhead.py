"""What an attack costs beyond its gradients: attacks against a bare loop of gradients, in turns.

    OMP_NUM_THREADS=1 python benchmarks/attack_overhead.py [--device cuda] [--rounds 7]

The bare loop makes the same number of forward and backward passes to the same images and does
nothing else: no step, no projection. On a CPU two peers' PGD in ℓ∞, of the same steps, take turns
with it too. Printed are the time of one gradient and the ratio of the two,
median and quartiles over rounds in which they take turns; see pairs.py for what a second is.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial

import torch
from attack_strength import markdown
from contest import Crafts
from pairs import Work, in_turns, ratio
from peers import foolbox, torchattacks
from torch import Tensor, nn
from torch.nn import functional

from holdfast.attacks import APGD, PGD
from holdfast.models import Architecture
from holdfast.tensors import device_of
from holdfast.threat import L2, Linf

#: Name, shape of the images, steps of an attack, batches.
NETWORKS = (
    ("small", (1, 8, 8), 40, (1, 16, 64, 128)),
    ("small", (1, 28, 28), 20, (1, 16, 64, 128)),
    ("torchvision/resnet18", (3, 32, 32), 2, (1, 16, 64)),
)
ATTACKS: tuple[tuple[str, Callable[[int], Crafts]], ...] = (
    ("PGD, ℓ∞", lambda steps: PGD(Linf(0.1), steps=steps, early_stop=False)),
    ("PGD, ℓ2", lambda steps: PGD(L2(1.0), steps=steps, early_stop=False)),
    ("APGD, ℓ∞", lambda steps: APGD(Linf(0.1), steps=steps - 1, early_stop=False)),
)
#: The same attack elsewhere, by its number of steps.
PEERS: tuple[tuple[str, Callable[[int], Crafts]], ...] = (
    ("torchattacks", lambda n: torchattacks("PGD", eps=0.1, alpha=0.25 / n, steps=n)),
    ("foolbox", lambda n: foolbox("LinfPGD", 0.1, abs_stepsize=0.25 / n, steps=n)),
)


def bare(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> None:
    """The passes alone."""
    x = x.clone().requires_grad_()
    for _ in range(steps):
        torch.autograd.grad(functional.cross_entropy(model(x), y, reduction="sum"), x)


def contestants(
    model: nn.Module, batch: int, shape: tuple[int, ...], steps: int, *, peers: bool = False
) -> dict[str, Work]:
    """The bare loop and the attacks, on the same images."""
    x = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(0)).to(device_of(model))
    with torch.no_grad():
        y = model(x).argmax(dim=1)
    return {"bare": partial(bare, model, x, y, steps)} | {
        label: partial(make(steps), model, x, y)
        for label, make in (*ATTACKS, *(PEERS if peers else ()))
    }


def lines(device: str, rounds: int) -> list[dict[str, str]]:
    """The table: one line for each network and batch."""
    table: list[dict[str, str]] = []
    peers = device == "cpu"
    for name, shape, steps, batches in NETWORKS:
        model = Architecture(name=name, shape=shape, classes=10).build(0).eval().to(device)
        for batch in batches:
            works = contestants(model, batch, shape, steps, peers=peers)
            times = in_turns(works, rounds, device)
            gradient = 1e3 * statistics.median(times["bare"]) / steps
            size = "×".join(map(str, shape[1:]))
            line: dict[str, object] = {
                "network": f"{name.rpartition('/')[2]}, {size}",
                "batch": batch,
                "a gradient": f"{gradient:.3g} ms",
            }
            line |= {
                label: ratio(times[label], times["bare"]) for label in works if label != "bare"
            }
            table.append({column: str(value) for column, value in line.items()})
            print(" ".join(table[-1].values()), file=sys.stderr, flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(markdown(lines(options.device, options.rounds)))


if __name__ == "__main__":
    main()
