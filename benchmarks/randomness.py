"""Keyed Philox streams against one torch.Generator per example, side by side.

    python benchmarks/randomness.py [--device cuda]

Both give an example the same draws in any batch. Printed is the time of one normal draw, the least
of several rounds in which the two take turns, and their ratio.
"""

import argparse
import time
from collections.abc import Callable

import torch

from holdfast.random import Stream

SHAPE = (1, 28, 28)


def philox(count: int, device: str) -> Callable[[], object]:
    stream = Stream.of(0, torch.arange(count, device=device))
    return lambda: stream.fold("noise").normal(SHAPE)


def generators(count: int, device: str) -> Callable[[], object]:
    def draw() -> torch.Tensor:
        out = torch.empty(count, *SHAPE, device=device)
        for i in range(count):
            generator = torch.Generator(device).manual_seed(i)
            torch.randn(SHAPE, generator=generator, out=out[i])
        return out

    return draw


def seconds(work: Callable[[], object], device: str) -> float:
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    print(f"{'examples':>8}  {'philox':>10}  {'generators':>10}  ratio")
    for count in (10, 100, 1000, 10_000):
        contestants = philox(count, device), generators(count, device)
        for work in contestants:
            seconds(work, device)
        rounds = [[seconds(work, device) for work in contestants] for _ in range(7)]
        ours, theirs = (min(times) / count / 784 * 1e9 for times in zip(*rounds, strict=True))
        print(f"{count:>8}  {ours:>7.1f} ns  {theirs:>7.1f} ns  {ours / theirs:>5.2f}")


if __name__ == "__main__":
    main()
