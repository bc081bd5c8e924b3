"""MALADE's table 2: what is crafted on one model, shown to all the others.

    python benchmarks/transfer_matrix.py --models runs/cnn,runs/madry,runs/malade \
        --attack "pgd(steps=40)" --eps 0.4 --data mnist --images 1000 --out runs/matrix

Accuracy in %: rows are what the images were crafted on, columns what they were shown to, and the
last row is the least of each column. On a model that purifies they are crafted by BPDAwEOT, as in
the paper; on a stochastic one by averaged gradients. The images are kept in --out, one file for
each source, and the same command goes on after an interruption.
"""

import argparse
from pathlib import Path

import torch
from attack_strength import markdown
from torch import Tensor

from holdfast import data
from holdfast.attacks import On
from holdfast.attacks.adaptive import adaptive
from holdfast.cli import registry
from holdfast.cli.common import device
from holdfast.files import read_tensors, write_tensors
from holdfast.models import loading
from holdfast.progress import showing
from holdfast.random import Stream
from holdfast.statistics import proportion_interval
from holdfast.tensors import device_of, fingerprint
from holdfast.types import Model
from holdfast.votes import take_votes


def crafted(spec: str, model: Model, images: data.Data, options: argparse.Namespace) -> Tensor:
    """Adversarial versions of all images, from the file of this source if it is there."""
    attack = registry.attack(options.attack, registry.threat(options.norm, options.eps))
    variants = adaptive(attack, model, samples=options.samples)
    name = "bpda-eot" if "bpda-eot" in variants else list(variants)[-1]
    on = On(model, variants[name], name=spec)
    about = {"attack": repr(on), "model": fingerprint(model), "data": images.fingerprint()}
    file = options.out / f"{Path(spec).name}.safetensors"
    if file.exists():
        tensors, had = read_tensors(file)
        if had != about:
            raise SystemExit(f"{file} holds other images: give another --out.")
        return tensors["x"]
    found = []
    with showing() as progress:
        progress.start(f"{name} on {spec}", len(images))
        for start in range(0, len(images), options.batch_size):
            index = torch.arange(start, min(start + options.batch_size, len(images)))
            x, y = (t.to(device_of(model)) for t in (images.x(index), images.y[index]))
            found.append(on(model, x, y, index=index).cpu())
            progress.advance(len(index))
    options.out.mkdir(parents=True, exist_ok=True)
    write_tensors(file, {"x": torch.cat(found)}, about)
    return torch.cat(found)


def right(model: Model, x: Tensor, y: Tensor, options: argparse.Namespace) -> int:
    """How many images the vote of a model gets right; one pass if it is not stochastic."""
    x, index = x.to(device_of(model)), torch.arange(len(x))
    stream = Stream.of(0, index.to(x.device)).fold("vote")
    votes = take_votes(model, x, stream, n=options.votes, batch_size=options.batch_size)
    return int((votes.counts.argmax(dim=1).cpu() == y).sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", required=True, help="between commas")
    parser.add_argument("--attack", default="pgd(steps=40)")
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--eps", type=float, default=0.4)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--votes", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    specs = options.models.split(",")
    if len({Path(spec).name for spec in specs}) < len(specs):
        parser.error("two models have the same name; their folders must end differently")
    images = data.load(options.data, data_dir=options.data_dir, limit=options.images)
    models = {spec: loading.load(spec).eval().to(device(options.accelerator)) for spec in specs}
    count, names = len(images), {spec: Path(spec).name for spec in models}
    lines, least = [], dict.fromkeys(models, count)
    for source, model in models.items():
        x = crafted(source, model, images, options)
        line = {"crafted on": names[source]}
        for target, asked in models.items():
            if target == source:
                line[names[target]] = "-"
                continue
            found = right(asked, x, images.y, options)
            least[target] = min(least[target], found)
            line[names[target]] = f"{100 * found / count:.1f}"
        lines.append(line)
    worst = {"crafted on": "worst case"}
    for target, found in least.items():
        low, high = proportion_interval(found, count)
        worst[names[target]] = f"{100 * found / count:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    print(f"{count} images, {options.norm} {options.eps:g}\n\n{markdown([*lines, worst])}")


if __name__ == "__main__":
    main()
