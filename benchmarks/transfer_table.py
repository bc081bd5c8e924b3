"""EAT's tables 7 and 8: single-step attacks seen from inside, and what transfers from others.

    python benchmarks/transfer_table.py --targets runs/A,runs/A-adv,runs/A-ens \
        --sources runs/attacker-A,runs/attacker-B,runs/attacker-C,runs/attacker-D \
        --data mnist --eps 0.3 --images 1000 --out runs/transfer

Errors in %. White-box: FGSM, R+FGSM and PGD on the target itself. Black-box: FGSM, I-FGSM and PGD
on the C&W margin, each crafted on each source, the same for all targets; their maximum and mean.
The sources should be none that a target was trained with. Masked gradients show as an error of
R+FGSM, or of what transfers, far above that of FGSM. Evaluations are kept in --out, and the same
command goes on after an interruption.
"""

import argparse
from itertools import product
from pathlib import Path

from attack_strength import markdown
from torch import nn

from holdfast import data
from holdfast.attacks import FGSM, IFGSM, PGD, RFGSM, Attack, On
from holdfast.data import Data
from holdfast.evaluation import EvaluationConfig, evaluate_data
from holdfast.goals import margin
from holdfast.models import loading
from holdfast.statistics import proportion_interval
from holdfast.threat import Linf


def errors(
    spec: str, images: Data, attacks: list[tuple[str, Attack]], options: argparse.Namespace
) -> dict[str, float]:
    """Error in % under each attack, and without one."""
    model: nn.Module = loading.load(spec).eval()
    name = f"{Path(spec).name}-by-{'-'.join(name for name, _ in attacks)}".replace(" ", "_")
    config = EvaluationConfig(seed=0, batch_size=200, keep_images=0)
    cells = evaluate_data(model, images, attacks, config, spec, options.out / name).cells
    found = {cell["attack"]: 100 * (1 - cell["robust_accuracy"]) for cell in cells}
    return {"clean": 100 * (1 - cells[0]["clean_accuracy"]), **found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", required=True, help="between commas")
    parser.add_argument("--sources", required=True, help="between commas")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--eps", type=float, default=0.3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    images = data.load(options.data, data_dir=options.data_dir, limit=options.images)
    ball = Linf(options.eps)
    inside: list[tuple[str, Attack]] = [
        ("fgsm", FGSM(ball)),
        ("r+fgsm", RFGSM(ball)),
        ("pgd", PGD(ball, steps=40)),
    ]
    crafted: list[tuple[str, Attack]] = [
        ("fgsm", FGSM(ball)),
        ("i-fgsm", IFGSM(ball, steps=10)),
        ("pgd", PGD(ball, steps=40, goal=margin)),
    ]
    models = {spec: loading.load(spec).eval() for spec in options.sources.split(",")}
    outside = [
        (f"{name} on {Path(spec).name}", On(model, attack, name=spec))
        for (spec, model), (name, attack) in product(models.items(), crafted)
    ]
    lines = []
    for spec in options.targets.split(","):
        white = errors(spec, images, inside, options)
        black = {}
        for attack in outside:
            found = errors(spec, images, [attack], options)
            black[attack[0]] = found[attack[0]]
            print(f"{spec}: {attack[0]} {found[attack[0]]:.1f}", flush=True)
        worst = max(black, key=lambda name: black[name])
        low, high = proportion_interval(round(black[worst] / 100 * len(images)), len(images))
        lines.append(
            {
                "target": Path(spec).name,
                **{name: f"{value:.1f}" for name, value in white.items()},
                "black-box maximum": f"{black[worst]:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
                "by": worst,
                "black-box mean": f"{sum(black.values()) / len(black):.1f}",
            }
        )
    print(f"\n{len(images)} images, eps {options.eps:g}\n\n{markdown(lines)}")


if __name__ == "__main__":
    main()
