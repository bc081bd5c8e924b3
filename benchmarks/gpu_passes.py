"""What a GPU gives at best, and how much of it a network's passes get: sections of speed_gpu.py."""

import copy
import statistics
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from faster_passes import gradient
from gpu_bench import Bench, Item, Rows, busy, captured, repeated
from pairs import Work, in_turns, ratio, seconds
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from holdfast.execution import Execution

#: Passes as they are made where nobody says how.
ORDINARY = Execution()

Ask = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]

#: Name, shape of the images, classes, images at once on a GPU.
NETWORKS = (
    ("torchvision/resnet50", (3, 224, 224), 1000, 128),
    ("small", (1, 28, 28), 10, 4096),
    ("A", (1, 28, 28), 10, 4096),
    ("madry-cifar10", (3, 32, 32), 10, 128),
)


@dataclass(frozen=True)
class Way:
    """How passes are made.

    Attributes:
        how: by Holdfast's own option.
        tf32: whether products of float32 may be rounded to 10 bits.
        graph: whether the whole of it is captured as a CUDA graph, without a compiler.
        compiled: by torch.compile alone, without the graphs that the option brings.
    """

    how: Execution = ORDINARY
    tf32: bool = False
    graph: bool = False
    compiled: bool = False

    @property
    def precision(self) -> str:
        """By which its ceiling is named."""
        return "bf16" if self.how.precision == "bf16" else "TF32" if self.tf32 else "fp32"


LAST = Execution(precision="bf16", channels_last=True)
PLAIN = {
    "ordinary": Way(),
    "TF32": Way(tf32=True),
    "bf16": Way(Execution(precision="bf16")),
    "channels-last": Way(Execution(channels_last=True)),
    "bf16, channels-last": Way(LAST),
    "as a graph": Way(graph=True),
    "bf16, channels-last, as a graph": Way(LAST, graph=True),
}
COMPILED = {
    "ordinary": Way(),
    "compiled, graphs, bf16": Way(Execution(compile=True, precision="bf16")),
    "compiled, graphs": Way(Execution(compile=True)),
    "compiled": Way(compiled=True),
}


def items(bench: Bench) -> Iterator[Item]:
    """The ceilings first, by which all others are judged; then what no compiler makes."""
    yield Item("ceilings", "copy and products", 8, partial(ceilings, bench))
    for network in NETWORKS:
        yield Item("passes", network[0], 12, partial(passes, bench, network, PLAIN))


def compiled_items(bench: Bench) -> Iterator[Item]:
    """What a compiler makes, which takes it long."""
    for network, guess in ((NETWORKS[1], 20), (NETWORKS[0], 45)):
        for label in list(COMPILED)[1:]:
            ways = {"ordinary": Way(), label: COMPILED[label]}
            rows = partial(passes, bench, network, ways, kinds=("gradient",))
            yield Item("passes", f"{network[0]}, {label}", guess, rows)


def ceilings(bench: Bench) -> Rows:
    """A copy within the device's memory, and a product of matrices in each precision."""
    size = 2**22 if bench.quick else 2**32
    source = torch.empty(size, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    taken = _least(bench, partial(target.copy_, source))
    del source, target
    yield {
        "what": f"a copy of {size / 2**30:.3g} GiB, read and written",
        "TB/s": 2e-12 * size / taken,
    }
    side = 256 if bench.quick else 8192
    for precision, dtype in (
        ("fp32", torch.float32),
        ("TF32", torch.float32),
        ("bf16", torch.bfloat16),
    ):
        a, b = (torch.randn(side, side, device=bench.device, dtype=dtype) for _ in range(2))
        with _tf32(precision == "TF32"):
            taken = _least(bench, partial(torch.mm, a, b))
        bench.ceilings[precision] = 2 * side**3 / taken
        yield {"what": f"{side}³ product, {precision}", "TFLOP/s": 1e-12 * 2 * side**3 / taken}


def _least(bench: Bench, work: Work) -> float:
    """Seconds of the fastest of a few measurements: a ceiling is the most that there is."""
    work()
    again, times = repeated(work, bench.device)
    return max(1e-9, min(seconds(again, bench.device) / times for _ in range(bench.rounds)))


def passes(
    bench: Bench,
    network: tuple[str, tuple[int, int, int], int, int],
    ways: dict[str, Way],
    kinds: tuple[str, ...] = ("gradient", "forward"),
) -> Rows:
    """A network's passes in several ways, in turns."""
    name, shape, classes, batch = network
    model = bench.network(name, shape, classes)
    x = bench.images(2 if bench.quick else batch, shape)
    for kind in kinds:
        yield from _passes(bench, name, model, x, kind, ways)
    torch._dynamo.reset()


def _passes(
    bench: Bench, name: str, model: nn.Module, x: Tensor, kind: str, ways: dict[str, Way]
) -> Rows:
    ask = KINDS[kind]
    flops = _flops(ask, model, x)
    with ExitStack() as stack:
        works: dict[str, Work] = {}
        first: dict[str, float] = {}
        for label, way in ways.items():
            if way.graph and bench.device == "cpu":
                continue
            quick: Callable[[Tensor], Tensor]
            quick = stack.enter_context(way.how.of(copy.deepcopy(model)))
            if way.compiled:
                quick = torch.compile(quick)
            works[label] = partial(_ask, ask, quick, x, way.tf32)
            if way.graph:
                works[label] = captured(works[label])
            with warnings.catch_warnings():  # or the row would be that of a fallback
                warnings.filterwarnings("error", "the network was not compiled")
                first[label] = seconds(works[label], bench.device)
                works[label]()  # CUDA graphs of a compiler are recorded by the second call
        again = {label: repeated(work, bench.device) for label, work in works.items()}
        times = in_turns(
            {label: work for label, (work, _) in again.items()}, bench.rounds, bench.device
        )
        each = {
            label: [taken / again[label][1] for taken in measured]
            for label, measured in times.items()
        }
        for label, work in works.items():
            taken = max(statistics.median(each[label]), 1e-9)
            watched = busy(work, bench.device)
            ceiling = bench.ceilings.get(ways[label].precision)
            yield {
                "network": f"{name.rpartition('/')[2]}, {'×'.join(map(str, x.shape[2:]))}",
                "images": len(x),
                "pass": kind,
                "way": label,
                "ms": 1e3 * taken,
                "images/s": len(x) / taken,
                "TFLOP/s": 1e-12 * flops / taken,
                "of the ceiling": ceiling and flops / taken / ceiling,
                "GPU busy": watched and min(1.0, watched[0] / taken),
                "kernels": watched and watched[1],
                "over ordinary": ratio(each[label], each["ordinary"]),
                "first call, s": first[label],
            }


def _forward(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


KINDS: dict[str, Ask] = {"gradient": gradient, "forward": _forward}


def _ask(ask: Ask, model: Callable[[Tensor], Tensor], x: Tensor, tf32: bool) -> Tensor:
    with _tf32(tf32):
        return ask(model, x)


def _flops(ask: Ask, model: nn.Module, x: Tensor) -> float:
    """Of a pass of the whole batch, by those of two images."""
    with FlopCounterMode(display=False) as counter:
        ask(
            lambda given: model(given.clone()), x[:2]
        )  # the counter's hooks bear no leaf of a graph
    return counter.get_total_flops() * len(x) / 2


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Whether products of float32, and convolutions, may be made in TF32."""
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [each.allow_tf32 for each in backends]
    for each in backends:
        each.allow_tf32 = allowed
    try:
        yield
    finally:
        for each, value in zip(backends, before, strict=True):
            each.allow_tf32 = value
