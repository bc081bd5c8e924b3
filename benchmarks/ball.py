"""What a benchmark in one ball is asked on the command line, and what it then works on."""

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from holdfast import data
from holdfast.models import loading
from holdfast.threat import L2, Linf
from holdfast.types import Threat


class Ball(NamedTuple):
    """A network, images and their labels, the ball, and where results go."""

    model: nn.Module
    x: Tensor
    y: Tensor
    threat: Threat
    out: Path


def asked(description: str | None, *, images: int) -> Ball:
    """Read the command line; the folder for the results is there afterwards.

    Args:
        description: of the benchmark.
        images: how many, if nothing else is said.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="as holdfast evaluate takes it")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=images)
    parser.add_argument("--norm", default="linf", choices=("linf", "l2"))
    parser.add_argument("--eps", type=float, default=0.2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    loaded = data.load(options.data, data_dir=options.data_dir, limit=options.images)
    options.out.mkdir(parents=True, exist_ok=True)
    return Ball(
        loading.load(options.model).eval().to(options.device),
        loaded.x(torch.arange(len(loaded))).to(options.device),
        loaded.y.to(options.device),
        {"linf": Linf, "l2": L2}[options.norm](options.eps),
        options.out,
    )
