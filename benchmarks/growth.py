"""What grows with what: time and peak memory over images, image size, classes, draws and steps.

    OMP_NUM_THREADS=1 python benchmarks/growth.py [--rounds 3] [--out docs/results/growth.svg]

Everything but one size is held still. Time is that of the processor, the median over rounds; memory
that of the peak (pairs.py says what either is). Printed are both, and the exponent: the slope of
the last two sizes on doubly logarithmic axes, 1 where they grow in proportion and 0 where they do
not grow.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import torch
from attack_strength import markdown
from matplotlib.figure import Figure
from pairs import Work, peak, seconds
from torch import Tensor, nn

from holdfast import evaluate
from holdfast.attacks import PGD, DeepFool
from holdfast.certify.sampling import sample
from holdfast.certify.smoothing import certificate_stream
from holdfast.defenses import MALADE, GaussianNoise, malade
from holdfast.evaluation import EvaluationConfig
from holdfast.files import write_text
from holdfast.gradients import Average
from holdfast.report import style
from holdfast.threat import L2, Linf


@dataclass(frozen=True)
class Axis:
    """One size that grows: ``make(size)`` is the work."""

    name: str
    sizes: tuple[int, ...]
    make: Callable[[int], Work]


def network(classes: int = 10) -> nn.Module:
    """One that takes images of any size, so that little but the images grows with them."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(128, classes),
    ).eval()


def batch(count: int, side: int = 32) -> tuple[Tensor, Tensor]:
    """Images and labels."""
    x = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    return x, torch.zeros(count, dtype=torch.int64)


def of_images(count: int) -> Work:
    model, (x, y) = network(), batch(count)
    attack = PGD(Linf(0.01), steps=5, early_stop=False)
    config = EvaluationConfig(batch_size=16, audit=0.0)
    return lambda: evaluate(model, x, y, [attack], config=config)


def of_side(side: int) -> Work:
    model, (x, y) = network(), batch(16, side)
    return lambda: PGD(Linf(0.01), steps=5, early_stop=False)(model, x, y)


def of_classes(classes: int) -> Work:
    model, (x, _) = network(classes), batch(4, 16)
    y = model(x).argmax(dim=1)  # or there would be nothing to do
    return lambda: DeepFool(L2(math.inf), steps=2)(model, x, y)


def of_votes(n: int) -> Work:
    model, (x, _) = nn.Sequential(GaussianNoise(0.5), network()), batch(4)
    rng = certificate_stream(0, torch.arange(4))
    return lambda: sample(model, x, rng, n=n)


def of_draws(samples: int) -> Work:
    model, (x, y) = nn.Sequential(GaussianNoise(0.5), network()), batch(4)
    average = Average(samples=samples, memory=2**20)  # a batch of copies that is always full
    return lambda: PGD(Linf(0.01), steps=2, early_stop=False, gradient=average)(model, x, y)


def of_steps(steps: int) -> Work:
    model, (x, y) = network(), batch(16)
    return lambda: PGD(Linf(0.01), steps=steps, early_stop=False)(model, x, y)


def of_chain(steps: int) -> Work:
    torch.manual_seed(0)
    denoiser = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)
    )
    malade._KEPT = 0  # as of images that are too large to be kept at every step
    layer = MALADE(denoiser, steps=steps, alpha=0.001, delta=0.01, sigma=0.5)
    model, (x, y) = nn.Sequential(layer, network()).eval(), batch(16)
    return lambda: PGD(Linf(0.01), steps=1, early_stop=False)(model, x, y)


AXES = (
    Axis("images, in batches of 16", (32, 64, 128, 256), of_images),
    Axis("side of the images", (8, 16, 32, 64, 128, 224), of_side),
    Axis("classes, DeepFool", (10, 100, 1000), of_classes),
    Axis("votes of a certificate", (100, 400, 1600), of_votes),
    Axis("draws of EOT", (16, 64, 256), of_draws),
    Axis("steps of PGD", (5, 20, 80), of_steps),
    Axis("steps of a MALADE chain", (5, 20, 80), of_chain),
)


def measured(axis: Axis, rounds: int) -> list[tuple[int, float, float]]:
    """(size, seconds, MiB), from the smallest."""
    found = []
    for size in axis.sizes:
        work = axis.make(size)
        memory = peak(work)  # also the call that loads what is needed
        taken = statistics.median(seconds(work) for _ in range(rounds))
        found.append((size, taken, memory))
        print(f"growth: {axis.name}, {size}", file=sys.stderr, flush=True)
    return found


def exponent(found: list[tuple[int, float, float]], column: int) -> float:
    """The slope between the last two sizes, both on logarithmic axes."""
    before, last = found[-2:]
    return math.log(last[column] / before[column]) / math.log(last[0] / before[0])


def lines(results: dict[str, list[tuple[int, float, float]]]) -> list[dict[str, object]]:
    """The table: one line for each size that grows."""
    return [
        {
            "what grows": name,
            "sizes": ", ".join(str(size) for size, _, _ in found),
            "ms": ", ".join(f"{1e3 * taken:.3g}" for _, taken, _ in found),
            "time grows as size^": f"{exponent(found, 1):.2f}",
            "MiB at the peak": ", ".join(f"{memory:.3g}" for _, _, memory in found),
            "memory grows as size^": f"{exponent(found, 2):.2f}",
        }
        for name, found in results.items()
    ]


def figure(results: dict[str, list[tuple[int, float, float]]]) -> Figure:
    """Time and memory over each size, as multiples of those at the smallest."""
    with mpl.rc_context(style.STYLE):
        drawn = Figure(figsize=(9, 3.8), layout="constrained")
        for place, (axes, label) in enumerate(
            zip(drawn.subplots(1, 2), ("time", "peak memory"), strict=True)
        ):
            for number, (name, found) in enumerate(results.items()):
                first = found[0]
                axes.loglog(
                    [row[0] / first[0] for row in found],
                    [row[place + 1] / first[place + 1] for row in found],
                    marker="o",
                    label=name,
                    color=(*style.CYCLE, style.GREY)[number],
                    linestyle=style.DASHES[number % len(style.DASHES)],
                )
            axes.set(xlabel="size over the smallest", ylabel=f"{label} over that of the smallest")
        drawn.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    return drawn


def draw(results: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    """Write the figure as SVG, without a background."""
    write_text(path, style.standalone_svg(figure(results)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/results/growth.svg"))
    options = parser.parse_args()
    results = {axis.name: measured(axis, options.rounds) for axis in AXES}
    draw(results, options.out)
    print(markdown(lines(results)))


if __name__ == "__main__":
    main()
