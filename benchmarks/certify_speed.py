"""What sampling costs over bare forward passes, and over a loop image by image.

    python benchmarks/certify_speed.py --model A --images 64 --votes 1000

Three ways to the same number of forward passes at the same batch size, taken in turns:

bare    n forward passes of each image: no noise, no votes
ours    `holdfast.certify.sampling.sample`: noise keyed by image, votes, mean scores
loop    one image after the other, as in the code of Cohen et al. 2019: torch.randn, votes
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from holdfast.certify.sampling import sample
from holdfast.certify.smoothing import certificate_stream
from holdfast.defenses import GaussianNoise
from holdfast.models import Architecture


@torch.no_grad()
def bare(model: nn.Module, x: Tensor, n: int, batch_size: int) -> None:
    flat = torch.arange(len(x) * n, device=x.device) % len(x)
    for place in flat.split(batch_size):
        model(x[place])


def ours(model: nn.Module, x: Tensor, n: int, batch_size: int, sigma: float) -> None:
    rng = certificate_stream(0, torch.arange(len(x), device=x.device))
    sample(nn.Sequential(GaussianNoise(sigma), model), x, rng, n=n, batch_size=batch_size)


@torch.no_grad()
def loop(model: nn.Module, x: Tensor, n: int, batch_size: int, sigma: float) -> None:
    for image in x:
        counts = None
        for start in range(0, n, batch_size):
            batch = image.repeat(min(batch_size, n - start), 1, 1, 1)
            logits = model(batch + torch.randn_like(batch) * sigma)
            votes = logits.argmax(dim=1).bincount(minlength=logits.shape[1]).cpu()
            counts = votes if counts is None else counts + votes


def seconds(work: Callable[[], None], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="A", help="an architecture's name")
    parser.add_argument("--shape", type=int, nargs=3, default=(1, 28, 28))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--votes", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sigma", type=float, default=0.5)
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    device = torch.device(a.device)
    model = Architecture(name=a.model, shape=tuple(a.shape), classes=10).build().eval().to(device)
    x = torch.rand(a.images, *a.shape, device=device)
    ways = {
        "bare": lambda: bare(model, x, a.votes, a.batch_size),
        "ours": lambda: ours(model, x, a.votes, a.batch_size, a.sigma),
        "loop": lambda: loop(model, x, a.votes, a.batch_size, a.sigma),
    }
    for work in ways.values():
        work()  # warm up
    times = {name: [] for name in ways}
    for _ in range(a.rounds):
        for name, work in ways.items():
            times[name].append(seconds(work, device))
    base = statistics.median(times["bare"])
    print(f"{a.model}, {a.images} images, n {a.votes}, batch {a.batch_size}, {device}:")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name}  {median:8.3f} s  {median / base:5.2f} times bare")


if __name__ == "__main__":
    main()
