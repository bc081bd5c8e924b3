"""Networks of the papers' size on a GPU: that they run, how fast, and the memory at the peak."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from tests.device.pair import Pair
from tests.device.parts import Part, SkippedError
from tests.device.subjects import (
    L2,
    Architecture,
    Linf,
    attacks,
    certify,
    data,
    fit,
    training,
)

BATCH = 128
WIDE = Architecture(name="madry-cifar10", shape=(3, 32, 32), classes=10)
PLAIN = Architecture(name="stn-cifar10", shape=(3, 32, 32), classes=10)


def parts(pair: Pair) -> Iterator[Part]:
    for made in (PLAIN, WIDE):
        named = {
            "pgd, 10 steps": attacks.PGD(Linf(8 / 255), steps=10, early_stop=False),
            "second-order, 2 steps": attacks.SecondOrder(
                L2(0.5), steps=2, sigma=0.1, samples=10, early_stop=False
            ),
            "deepfool, 2 steps": attacks.DeepFool(L2(float("inf")), steps=2),
        }
        for name, attack in named.items():
            yield _part(pair, made, name, lambda n, x, y, a=attack: a(n, x, y))
        yield _part(
            pair,
            made,
            "certify, 100 votes",
            lambda n, x, _: certify.certify_images(
                n, x, sigma=0.25, votes=100, bound="cohen", batch_size=1000
            ),
        )
        for precision in ("32-true", "bf16-mixed", "16-mixed"):
            yield Part(
                f"memory/{made.name}, train {precision}",
                lambda m=made, p=precision: _train(pair, m, p),
            )


def _part(pair: Pair, made: Architecture, name: str, work: Callable[..., object]) -> Part:
    def look() -> str:
        _needs_a_gpu(pair)
        network = made.build().eval().to(pair.device)
        x = torch.rand(BATCH, *made.shape, device=pair.device)
        y = torch.arange(BATCH, device=pair.device) % made.classes
        work(network, x[:2], y[:2])  # cuDNN and the allocator begin
        torch.cuda.synchronize(pair.device)
        began = time.perf_counter()
        work(network, x, y)
        torch.cuda.synchronize(pair.device)
        return f"{BATCH / (time.perf_counter() - began):.1f} images a second"

    return Part(f"memory/{made.name}, {name}", look)


def _train(pair: Pair, made: Architecture, precision: str) -> str:
    _needs_a_gpu(pair)
    count, epochs = 8 * BATCH, 2
    images = data.Data.of(torch.rand(count, *made.shape), torch.arange(count) % made.classes)
    schedule = training.Schedule(
        epochs=epochs, batch_size=BATCH, precision=precision, accelerator=pair.device.type
    )
    network: nn.Module = made.build()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        fit(
            network,
            images,
            training.Standard(),
            schedule,
            architecture=made,
            out=Path(folder),
        )
        seconds = time.perf_counter() - began
    return f"{epochs * count / seconds:.0f} images a second, with start and checkpoints"


def _needs_a_gpu(pair: Pair) -> None:
    if pair.alone:
        raise SkippedError("needs a GPU")
