"""What faster passes bring: a gradient in bf16, compiled and in channels-last over an ordinary one.

    OMP_NUM_THREADS=1 python benchmarks/faster_passes.py [--device cuda] [--rounds 9]

Ways to ask the same network take turns, each on a copy of its own; printed are the time of an
ordinary gradient, forward and back, and the ratio of each way to it, median and quartiles over the
rounds (pairs.py says what a second is), how far its gradient lies from the ordinary one, and how
long the first call took, by the clock, with what is compiled there.
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch
from attack_strength import markdown
from pairs import in_turns, ratio
from torch import Tensor

from holdfast.execution import Execution
from holdfast.models import Architecture

#: Name, shape of the images, images at once.
NETWORKS = (("small", (1, 28, 28), 128), ("torchvision/resnet18", (3, 32, 32), 32))

WAYS = {
    "channels-last": Execution(channels_last=True),
    "bf16": Execution(precision="bf16"),
    "bf16, channels-last": Execution(precision="bf16", channels_last=True),
    "compiled": Execution(compile=True),
    "compiled, bf16": Execution(compile=True, precision="bf16"),
    "fp16": Execution(precision="fp16"),
}


def gradient(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Of the logits' squares: forward and back."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).float().square().sum(), x)[0]


def lines(device: str, rounds: int, skip: list[str]) -> list[dict[str, str]]:
    """The table: one line for each network and way."""
    table: list[dict[str, str]] = []
    for name, shape, batch in NETWORKS:
        model = Architecture(name=name, shape=shape, classes=10).build(0).eval().to(device)
        model.requires_grad_(False)
        x = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(0)).to(device)
        own = gradient(model, x)
        first, apart = {}, {}
        with ExitStack() as stack:
            works = {"ordinary": partial(gradient, model, x)}
            for label, how in WAYS.items():
                if any(word in label for word in skip):
                    continue
                quick = stack.enter_context(how.of(copy.deepcopy(model)))
                works[label] = partial(gradient, quick, x)
                began = time.monotonic()
                found = works[label]()
                first[label] = time.monotonic() - began
                apart[label] = float((found - own).norm() / own.norm())
            times = in_turns(works, rounds, device)
        each = 1e3 * statistics.median(times["ordinary"])
        size = "×".join(map(str, shape[1:]))
        for label in first:
            table.append(
                {
                    "network": f"{name.rpartition('/')[2]}, {size}, {batch} images",
                    "an ordinary gradient": f"{each:.3g} ms",
                    "way": label,
                    "over it": str(ratio(times[label], times["ordinary"])),
                    "its gradient is off by": f"{apart[label]:.1g}",
                    "first call": f"{first[label]:.2g} s",
                }
            )
            print(" ".join(table[-1].values()), file=sys.stderr, flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--skip", nargs="*", default=[], help="ways with one of these words")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(markdown(lines(options.device, options.rounds, options.skip)))


if __name__ == "__main__":
    main()
