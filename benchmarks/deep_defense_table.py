"""Deep Defense's table 1: accuracy, ρ₂ by DeepFool, and accuracy under FGS at fractions of ε_ref.

    python benchmarks/deep_defense_table.py --models runs/mlp,runs/mlp-clean,runs/mlp-deep \
        --regularized runs/mlp-deep --data mnist

ε_ref is the smallest size at which FGS, from the true label, misclassifies half of the images of
the regularised network (DD 4.1); all networks are compared at fractions of it. ρ₂ is measured on
images in [0, 1]; beside it stands its ratio to that of the first network, with a paired 95 %
bootstrap interval over images.
"""

import argparse
import math
from functools import partial
from pathlib import Path

import numpy as np
import torch
from attack_strength import markdown
from torch import Tensor, nn

from holdfast import data
from holdfast.attacks import FGSM, Attack, DeepFool
from holdfast.evaluation import Evaluation, EvaluationConfig, evaluate
from holdfast.metrics import accuracies_at, reference_size, relative_lengths
from holdfast.models import loading
from holdfast.threat import L2, Linf


def attacked(model: nn.Module, x: Tensor, y: Tensor, attack: Attack) -> Evaluation:
    return evaluate(
        model, x, y, {"attack": attack}, config=EvaluationConfig(batch_size=500, keep_images=0)
    )


def error_of(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> float:
    error: float = 1 - attacked(model, x, y, FGSM(Linf(eps))).cells[0]["robust_accuracy"]
    return error


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", required=True, help="between commas; the first is compared to")
    parser.add_argument("--regularized", required=True, help="the one that ε_ref is of")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int)
    options = parser.parse_args()
    images = data.load(options.data, data_dir=options.data_dir, limit=options.images)
    x, y = images.x(torch.arange(len(images))), images.y
    models = {spec: loading.load(spec).eval() for spec in options.models.split(",")}
    regularized = loading.load(options.regularized).eval()
    sizes = [0.01 * step for step in range(1, 101)]
    eps_ref = reference_size(lambda eps: error_of(regularized, x, y, eps), sizes, tolerance=1e-3)
    print(f"{len(x)} images, ε_ref {eps_ref:.3f}\n")
    draw = np.random.default_rng(0).integers(len(x), size=(1000, len(x)))
    lines, first = [], None
    for spec, model in models.items():
        found = attacked(model, x, y, DeepFool(L2(math.inf)))
        rows = found.rows[found.rows["attack"] == "attack"]
        rho = relative_lengths(rows)
        first = rho if first is None else first
        ratios = rho[draw].mean(axis=1) / first[draw].mean(axis=1)
        low, high = np.quantile(ratios, [0.025, 0.975])
        at = accuracies_at(partial(error_of, model, x, y), eps_ref)
        lines.append(
            {
                "network": Path(spec).name,
                "accuracy": f"{100 * found.cells[0]['clean_accuracy']:.2f}",
                "ρ₂": f"{rho.mean():.4f}",
                "times": f"{rho.mean() / first.mean():.2f} [{low:.2f}, {high:.2f}]",
                **{name: f"{100 * value:.2f}" for name, value in at.items()},
            }
        )
    print(markdown(lines))


if __name__ == "__main__":
    main()
