"""What attacks cost: time over their bare calls, and over the fastest peer at the same setting.

    OMP_NUM_THREADS=1 python benchmarks/attack_speed.py --model runs/pgd --data mnist --images 128 \
        --linf 0.3 --l2 2.0 [--only NAME] [--rounds 3]

The contests are those of attack_strength.py. "bare" makes the same forward and backward passes on
batches of the same sizes and nothing else: every backward pass by itself, so that an attack which
takes the gradients of all classes together can come out below 1. Passes of less than a batch, which
remain when images have fallen, are cheap on no machine; the bare loop makes them too. Ours, the
bare loop and the peers take turns; printed are the median and the quartiles of each ratio, see
pairs.py. Peers that keep attacking images which have fallen make more passes: their time is what a
user waits.
"""

import math
import statistics
import sys
from collections.abc import Callable
from functools import partial

import torch
from attack_strength import arguments, chosen, markdown
from contest import Contest
from pairs import in_turns, ratio
from torch import Tensor, nn

from holdfast.counting import Counted


class Recorded(Counted):
    """A counted model that also keeps its forward passes in order, with their backward passes."""

    def __init__(self, model: nn.Module, index: Tensor) -> None:
        super().__init__(model, index)
        self.passes: list[tuple[int, int]] = []  # (images, gradients taken of them)

    def _count(
        self, kind: int, counts: Tensor, place: Tensor | None, images: int, times: int
    ) -> None:
        if kind == 0:
            self.passes.append((images, 0))
        else:  # several may follow one forward pass, each for some of the classes
            forward, gradients = self.passes[-1]
            if forward != images:
                raise ValueError(f"a gradient of {images} images follows a pass of {forward}.")
            self.passes[-1] = (images, gradients + times)


def replay(model: nn.Module, x: Tensor, passes: list[tuple[int, int]]) -> None:
    """Make the same passes, and nothing else."""
    images = x.repeat(math.ceil(max(count for count, _ in passes) / len(x)), 1, 1, 1)
    for count, gradients in passes:
        batch = images[:count].detach().requires_grad_(gradients > 0)
        with torch.set_grad_enabled(gradients > 0):
            total = model(batch).sum()
        for left in reversed(range(gradients)):
            torch.autograd.grad(total, batch, retain_graph=left > 0)


def measure(
    contest: Contest, model: nn.Module, x: Tensor, y: Tensor, rounds: int
) -> dict[str, object]:
    """One line of the table."""
    recorded = Recorded(model, torch.arange(len(x))).eval()
    contest.entries["holdfast"](recorded, x, y)
    entries: dict[str, Callable[[], object]] = {"bare": lambda: replay(model, x, recorded.passes)}
    for name, craft in contest.entries.items():
        entries[name] = partial(craft, model, x, y)
    for name in [name for name in entries if name not in ("holdfast", "bare")]:
        try:
            entries[name]()
        except Exception as error:
            print(f"{name} failed: {type(error).__name__}: {error}", file=sys.stderr)
            del entries[name]
    times = in_turns(entries, rounds, idle=0)  # each has run once by now
    peers = [name for name in entries if name not in ("holdfast", "bare")]
    fastest = min(peers, key=lambda name: statistics.median(times[name]))
    return {
        "attack": contest.name,
        "size": str(contest.threat),
        "seconds": statistics.median(times["holdfast"]),
        "over bare calls": ratio(times["holdfast"], times["bare"]),
        "fastest peer": fastest,
        "over fastest peer": ratio(times["holdfast"], times[fastest]),
    }


def main() -> None:
    parser = arguments(__doc__, limit=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model, x, y, contests = chosen(options)
    lines = []
    for contest in contests:
        print(f"{contest.name}, {contest.threat} ...", file=sys.stderr, flush=True)
        lines.append(measure(contest, model, x, y, options.rounds))
        print(lines[-1], file=sys.stderr, flush=True)
    print(markdown(lines))


if __name__ == "__main__":
    main()
