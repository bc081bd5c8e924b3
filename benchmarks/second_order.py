"""S-O's claim on one or more networks: which σ, how many draws, how many steps, and why it works.

    python benchmarks/second_order.py map --model runs/pgd --data mnist --images 200 --eps 2 \
        --sigma 0.05,0.1,0.15,0.2,0.25,0.3,rule --draws 1,4,10 --steps 10,40 --out runs/so-map
    python benchmarks/second_order.py traces --model runs/plain,runs/pgd --data mnist --images 100 \
        --eps 2 --out traces.svg

``map`` prints the accuracy that S-O leaves for every choice, in ℓ2 with steps of 2.5 ε / steps
from the image, "rule" being the default of `holdfast.attacks.SecondOrder` and 0.3:0.05 a σ that
falls (or rises) geometrically from the first to the second; cells are kept in --out, and the same
command goes on after an interruption. ``traces`` draws the mean over images of ‖∇L‖₂ at every
iterate and the fraction of images that stay robust, under PGD and S-O (SO figure 2).
"""

import argparse
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from attack_strength import markdown
from torch import Tensor, nn

from holdfast import data
from holdfast.attacks import PGD, Attack, SecondOrder
from holdfast.files import read_json, write_json
from holdfast.goals import cross_entropy
from holdfast.gradients import autograd
from holdfast.models import loading
from holdfast.random import Stream
from holdfast.statistics import proportion_interval
from holdfast.tensors import norm
from holdfast.threat import L2
from holdfast.types import Step


def second_order(eps: float, sigma: str, draws: int, steps: int) -> Attack:
    """S-O at a fixed σ, with σ falling from one to another, first:last, or by the rule."""
    if sigma == "rule":
        return SecondOrder(L2(eps), steps=steps, samples=draws)
    first, _, last = sigma.partition(":")
    ends = (float(first), float(last or first))
    return SecondOrder(L2(eps), steps=steps, samples=draws, sigma=ends)


def robust_count(model: nn.Module, x: Tensor, y: Tensor, attack: Attack) -> int:
    """How many images the attack leaves right."""
    x_adv = attack(model, x, y, seed=0)
    with torch.no_grad():
        return int((model(x_adv).argmax(dim=1) == y).sum())


def sweep(model: nn.Module, x: Tensor, y: Tensor, options: argparse.Namespace) -> None:
    """Print one line for each size, number of draws and number of steps; a column for each σ."""
    options.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for eps, draws, steps in product(options.eps, options.draws, options.steps):
        line: dict[str, object] = {"ε": eps, "draws": draws, "steps": steps}
        for sigma in options.sigma:
            file = options.out / f"eps{eps:g}-draws{draws}-steps{steps}-sigma{sigma}.json"
            if not file.exists():
                left = robust_count(model, x, y, second_order(eps, sigma, draws, steps))
                write_json(file, {"standing": left, "images": len(x)})
            cell = read_json(file)
            line[f"σ = {sigma}" if sigma != "rule" else "rule"] = (
                f"{100 * cell['standing'] / cell['images']:.1f}"
            )
        lines.append(line)
        print(line, flush=True)
    low, high = proportion_interval(len(x) // 2, len(x))
    print(f"\n{len(x)} images; a fraction of 50 % has the 95 % interval {low:.1%} to {high:.1%}\n")
    print(markdown(lines))


@dataclass
class Watch:
    """‖∇L‖₂ at every iterate, and whether the image is still robust there, as means over images."""

    model: nn.Module
    x0: Tensor
    y: Tensor
    norms: list[float] = field(default_factory=list)
    robust: list[float] = field(default_factory=list)

    def __call__(self, step: Step) -> None:
        """Note one iterate of all images."""
        slope = autograd(cross_entropy(self.model, self.x0, self.y))
        exact = slope(step.x, Stream.of(0, torch.arange(len(step.x)))).grad
        self.norms.append(norm(exact, 2).mean().item())
        with torch.no_grad():
            right = self.model(step.x).argmax(dim=1) == self.y
        self.robust.append(100 * right.float().mean().item())


def traces(
    models: dict[str, nn.Module], x: Tensor, y: Tensor, eps: float, steps: int, out: Path
) -> None:
    """Draw the traces of PGD and S-O on every network."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    attacks = {
        "PGD": PGD(L2(eps), steps=steps, random_start=False, early_stop=False),
        "S-O": SecondOrder(L2(eps), steps=steps, early_stop=False),
    }
    for color, (name, model) in zip(
        ("#5b6472", "#b3402a", "#2a6fb3"), models.items(), strict=False
    ):
        for style, (label, attack) in zip(("--", "-"), attacks.items(), strict=True):
            watch = Watch(model, x, y)
            attack(model, x, y, seed=0, callback=watch)
            print(
                f"{name}, {label}: ‖∇L‖₂ {watch.norms[0]:.3g} at first, "
                f"{max(watch.norms):.3g} at most, {watch.robust[-1]:.1f} % robust"
            )
            left.plot(watch.norms, style, color=color, label=f"{label}, {name}")
            right.plot(watch.robust, style, color=color)
    left.set(xlabel="iteration", ylabel="mean of ‖∇L‖₂", yscale="log")
    right.set(xlabel="iteration", ylabel="robust images, %", ylim=(0, 100))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(out)


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def whole(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def names(text: str) -> list[str]:
    return text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("map", "traces"))
    parser.add_argument("--model", type=names, required=True, help="as holdfast evaluate takes it")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--eps", type=numbers, default=[2.0])
    parser.add_argument(
        "--sigma", type=names, default=["0.05", "0.1", "0.15", "0.2", "0.3", "rule"]
    )
    parser.add_argument("--draws", type=whole, default=[10])
    parser.add_argument("--steps", type=whole, default=[40])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    models = {Path(spec).name: loading.load(spec).eval() for spec in options.model}
    images = data.load(options.data, data_dir=options.data_dir, limit=options.images)
    x, y = images.x(torch.arange(len(images))), images.y
    if options.what == "map":
        (model,) = models.values()
        sweep(model, x, y, options)
    else:
        traces(models, x, y, options.eps[0], options.steps[0], options.out)


if __name__ == "__main__":
    main()
