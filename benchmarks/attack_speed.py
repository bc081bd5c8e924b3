"""What attacks cost: time over their bare calls, and over the fastest peer at the same setting.

    OMP_NUM_THREADS=2 python benchmarks/attack_speed.py --model runs/pgd --data mnist --images 128 \
        --linf 0.3 --l2 2.0 [--only NAME]

The contests are those of attack_strength.py. "bare" makes the same forward and backward passes on
batches of the same sizes and nothing else: every backward pass by itself, so that an attack which
takes the gradients of all classes together can come out below 1. Passes of less than a batch, which
remain when images have fallen, are cheap on no machine; the bare loop makes them too. Ours, the
bare loop and the peers take turns, and the median over rounds of each ratio is printed. Peers that
keep attacking images which have fallen make more passes: their time is what a user waits. With
--processor-time only the time in which the processor worked for this process counts, for a machine
that is busy otherwise; take one thread then.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from attack_strength import arguments, chosen, markdown
from contest import Contest
from torch import Tensor, nn

from holdfast.counting import Counted


class Recorded(Counted):
    """A counted model that also keeps its passes in order: (kind, images, times)."""

    def __init__(self, model: nn.Module, index: Tensor) -> None:
        super().__init__(model, index)
        self.passes: list[tuple[int, int, int]] = []

    def _count(
        self, kind: int, counts: Tensor, place: Tensor | None, images: int, times: int
    ) -> None:
        self.passes.append((kind, images, times))


def replay(model: nn.Module, x: Tensor, passes: list[tuple[int, int, int]]) -> None:
    """Make the same passes, and nothing else."""
    images = x.repeat(math.ceil(max(count for _, count, _ in passes) / len(x)), 1, 1, 1)
    following = [*passes[1:], (0, 0, 0)]
    for (kind, count, _), (next_kind, _, times) in zip(passes, following, strict=True):
        if kind == 1:
            continue
        batch = images[:count].detach().requires_grad_(next_kind == 1)
        with torch.set_grad_enabled(next_kind == 1):
            total = model(batch).sum()
        if next_kind == 1:
            for left in reversed(range(times)):
                torch.autograd.grad(total, batch, retain_graph=left > 0)


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    began = clock()
    work()
    return clock() - began


def measure(
    contest: Contest,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    rounds: int,
    clock: Callable[[], float],
) -> dict[str, object]:
    """One line of the table: medians over rounds in which all take turns."""
    recorded = Recorded(model, torch.arange(len(x))).eval()
    contest.entries["holdfast"](recorded, x, y)
    entries: dict[str, Callable[[], object]] = {"bare": lambda: replay(model, x, recorded.passes)}
    for name, craft in contest.entries.items():
        entries[name] = partial(craft, model, x, y)
    for name in list(entries):
        try:
            seconds(entries[name], clock)
        except Exception as error:
            if name in ("holdfast", "bare"):
                raise
            print(f"{name} failed: {type(error).__name__}: {error}", file=sys.stderr)
            del entries[name]
    times = [{name: seconds(work, clock) for name, work in entries.items()} for _ in range(rounds)]
    peers = [name for name in entries if name not in ("holdfast", "bare")]
    fastest = min(peers, key=lambda name: statistics.median(t[name] for t in times))
    return {
        "attack": contest.name,
        "size": str(contest.threat),
        "seconds": statistics.median(t["holdfast"] for t in times),
        "over bare calls": statistics.median(t["holdfast"] / t["bare"] for t in times),
        "fastest peer": fastest,
        "over fastest peer": statistics.median(t["holdfast"] / t[fastest] for t in times),
    }


def main() -> None:
    parser = arguments(__doc__, limit=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.processor_time else time.perf_counter
    model, x, y, contests = chosen(options)
    lines = []
    for contest in contests:
        print(f"{contest.name}, {contest.threat} ...", file=sys.stderr, flush=True)
        lines.append(measure(contest, model, x, y, options.rounds, clock))
        print(lines[-1], file=sys.stderr, flush=True)
    print(markdown(lines))


if __name__ == "__main__":
    main()
