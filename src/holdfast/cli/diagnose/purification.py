"""``holdfast diagnose``: what a defence does on the way, as figures."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from holdfast import data as datasets
from holdfast.attacks import Attack, On, adaptive
from holdfast.attacks.adaptive import EOT_DRAWS
from holdfast.cli import registry
from holdfast.cli.common import device
from holdfast.cli.options import Counts, Numbers, Words
from holdfast.diagnose import trace_purification
from holdfast.diagnose.purification import CLEAN, chain_of
from holdfast.errors import InputError, unknown
from holdfast.models import loading
from holdfast.parameters import each_once
from holdfast.report import pictures as drawing
from holdfast.report import style
from holdfast.report.gallery import to_pixels
from holdfast.types import Model


def purification(
    *,
    model: Words,
    out: Path,
    data: str = "digits",
    data_dir: Path | None = None,
    image: int = 0,
    attack: str = "pgd(steps=20)",
    variant: str | None = None,
    source: str | None = None,
    norm: str = "linf",
    eps: Numbers = Numbers((0.1, 0.2, 0.3)),
    at: Counts = Counts((1, 10, 25)),
    samples: int | None = None,
    seed: int = 0,
    accelerator: str = "auto",
    quiet: bool = False,
) -> None:
    """Show what MALADE's chain does to an attacked image, step by step.

    One line of pictures for each model and size of the attack: the image, the attacked image, and
    the same after some steps of the chain, with the probability of the true class and of the
    likeliest other one (MALADE, figures 2 and 17 to 20). The folder holds figure (PDF, SVG), images
    and numbers.

    Example:
        holdfast diagnose purification --data mnist --model runs/malade --eps 0.3 --out runs/chain

    Args:
        model: Folder of a run of holdfast tune malade, with layers in front if wanted,
            "binarise | runs/malade"; several between commas are compared.
        out: Folder for the run.
        data: Data set (`holdfast list`), with parameters if wanted, such as
            "imagenet(resize=342, crop=299)", or the path of an image folder.
        data_dir: Folder of named data sets and image folders; else HOLDFAST_DATA.
        image: Number of the test image, from 0.
        attack: Attack on it, as of evaluate.
        variant: How it is run: plain (through the chain), bpda, bpda-eot, the default,
            r-bpda or r.
        source: Craft the attack on this model instead, such as the classifier behind the chains:
            all chains then undo the same attacked image, as in figure 2.
        norm: Norm of the attacker's ball: linf, l2 or l1.
        eps: Sizes of the ball between commas, on the [0, 1] scale.
        at: Steps of the chain to show, between commas.
        samples: Draws that attacks average over, 10 by default; bpda-eot takes 30 at least.
        seed: Of all randomness.
        accelerator: auto, cpu, cuda, ... as Lightning Fabric names them.
        quiet: Do not say where the figure is.
    """
    for option, given in (("--model", model), ("--eps", eps), ("--at", at)):
        if not given:
            raise InputError(f"{option} is empty; give at least one, or several between commas.")
        each_once(option, given)
    if image < 0:
        raise InputError(f"image is {image}, but images are numbered from 0.")
    images = datasets.load(data, data_dir=data_dir, limit=image + 1)
    if image >= len(images):
        raise InputError(f"image is {image}, but {data} has {len(images)} test images.")
    for option, without in (("--variant", variant), ("--samples", samples)):
        if source is not None and without is not None:
            raise InputError(
                f"{option} says how the chain is attacked, and --source that it is not: leave out "
                "one of them."
            )
    way = "bpda-eot" if variant is None else variant
    if source is None and way == "bpda-eot" and samples is not None and samples < EOT_DRAWS:
        raise InputError(
            f"--samples is {samples}, but bpda-eot takes {EOT_DRAWS} at least: give as many, or "
            "another --variant."
        )
    where = device(accelerator)
    models: dict[str, Model] = {name: loading.load(name, images.shape).to(where) for name in model}
    for name, network in models.items():
        chain_of(name, network, at)
    named = {
        f"{norm} {size:g}": registry.attack(attack, registry.threat(norm, size)) for size in eps
    }
    attacks: dict[str, dict[str, Attack]]
    if source is None:
        attacks = {
            name: {
                size: _variant(one, network, way, 10 if samples is None else samples)
                for size, one in named.items()
            }
            for name, network in models.items()
        }
    else:
        other = loading.load(source, images.shape).eval().to(where)
        crafted: dict[str, Attack] = {
            size: On(other, one, name=source) for size, one in named.items()
        }
        attacks = dict.fromkeys(models, crafted)
    table, pictures = trace_purification(models, images, image, attacks, at, seed=seed, out=out)
    style.save(_figure(table, pictures, images.classes), out / "traces")
    if not quiet:
        print(f"figure: {out / 'traces.pdf'}")


def _variant(attack: Attack, model: Model, name: str, samples: int) -> Attack:
    variants = adaptive(attack, model, samples=samples)
    if name not in variants:
        raise unknown("variant", name, variants)
    return variants[name]


def _figure(table: pd.DataFrame, pictures: Tensor, classes: tuple[str, ...]) -> Figure:
    several = table["model"].nunique() > 1
    strips = []
    for (model, attack), part in table.groupby(["model", "attack"], sort=False):
        captions = [
            f"{classes[line.label]} {line.p_label:.2f}\n{classes[line.other]} {line.p_other:.2f}"
            for line in part.itertuples()
        ]
        shown = [to_pixels(pictures[place]) for place in part.index]
        strips.append(drawing.Strip(f"{model}, {attack}" if several else attack, shown, captions))
    names = {CLEAN: "image", 0: "attacked", 1: "1 step"}
    heads = [names.get(step, f"{step} steps") for step in part["step"]]
    return drawing.strips(heads, strips)
