"""What benchmarks are asked on the command line, in the same words: a network, images, a ball."""

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from holdfast import data
from holdfast.models import loading
from holdfast.threat import L2, Linf
from holdfast.types import Threat


class Pictures(NamedTuple):
    """A network in evaluation mode, and images with their labels on its device."""

    model: nn.Module
    x: Tensor
    y: Tensor


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
    parser = parser_of(description)
    ask_for_pictures(parser, images)
    ask_for_ball(parser)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    return Ball(*pictures_of(options), threat_of(options), options.out)


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A command line that keeps the lines of its description."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def ask_for_pictures(
    parser: argparse.ArgumentParser, images: int, *, required: bool = True
) -> None:
    """Ask which network, and which images.

    Args:
        parser: of the command line.
        images: how many, if nothing else is said.
        required: whether the network must be named.
    """
    parser.add_argument("--model", required=required, help="as holdfast evaluate takes it")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument(
        "--images", type=_span, default=(0, images), help="how many, or 1000:2000 for the second"
    )
    parser.add_argument("--device", default="cpu")


def pictures_of(options: argparse.Namespace) -> Pictures:
    """The network and the images that a command line names."""
    first, last = options.images
    loaded = data.load(options.data, data_dir=options.data_dir, limit=last)
    index = torch.arange(first, len(loaded))
    return Pictures(
        loading.load(options.model).eval().to(options.device),
        loaded.x(index).to(options.device),
        loaded.y[index].to(options.device),
    )


def ask_for_ball(parser: argparse.ArgumentParser) -> None:
    """Ask for the norm and the size of the ball."""
    parser.add_argument("--norm", default="linf", choices=("linf", "l2"))
    parser.add_argument("--eps", type=float, default=0.2)


def threat_of(options: argparse.Namespace) -> Threat:
    """The ball that a command line names."""
    return {"linf": Linf, "l2": L2}[options.norm](options.eps)


def _span(text: str) -> tuple[int, int]:
    """The first image and one beyond the last, of "300" or of "1000:2000"."""
    first, _, last = text.rpartition(":")
    return int(first or 0), int(last)
