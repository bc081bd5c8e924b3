"""What sampling costs over bare forward passes, and over a loop image by image.

    OMP_NUM_THREADS=1 python benchmarks/certify_speed.py [--images 16] [--votes 200] [--rounds 7]

Four ways to the same number of forward passes at the same batch size, taken in turns (pairs.py):

bare    n forward passes of each image: no noise, no votes
ours    `holdfast.certify.sampling.sample`: noise keyed by image, votes, mean scores
loop    one image after the other, as in the code of Cohen et al. 2019: torch.randn, votes
noise   torch.randn of as many images, and nothing else: what no sampling can do without

Printed is each over bare.
"""

import argparse
from functools import partial

import torch
from attack_strength import markdown
from pairs import Work, in_turns, ratio
from torch import Tensor, nn

from holdfast.certify.sampling import sample
from holdfast.certify.smoothing import certificate_stream
from holdfast.defenses import GaussianNoise
from holdfast.models import Architecture

NETWORKS = ("mlp", "small")
BATCH, SIGMA = 128, 0.5


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


def noise(x: Tensor, n: int, batch_size: int) -> None:
    for place in torch.arange(len(x) * n, device=x.device).split(batch_size):
        torch.randn(len(place), *x.shape[1:], device=x.device)


def contestants(model: nn.Module, x: Tensor, votes: int, batch: int) -> dict[str, Work]:
    """The four ways."""
    return {
        "bare": partial(bare, model, x, votes, batch),
        "ours": partial(ours, model, x, votes, batch, SIGMA),
        "loop": partial(loop, model, x, votes, batch, SIGMA),
        "noise": partial(noise, x, votes, batch),
    }


def lines(images: int, votes: int, rounds: int, device: str = "cpu") -> list[dict[str, object]]:
    """The table: one line for each network."""
    table = []
    for name in NETWORKS:
        model = Architecture(name=name, shape=(1, 28, 28), classes=10).build(0).eval().to(device)
        x = torch.rand(images, 1, 28, 28, generator=torch.Generator().manual_seed(0)).to(device)
        ways = contestants(model, x, votes, BATCH)
        times = in_turns(ways, rounds, device)
        line: dict[str, object] = {"network": name}
        table.append(
            line | {way: ratio(times[way], times["bare"]) for way in ways if way != "bare"}
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--votes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print(markdown(lines(options.images, options.votes, options.rounds, options.device)))


if __name__ == "__main__":
    main()
