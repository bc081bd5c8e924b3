"""How near attacks come to the nearest point that any of them finds, at 2,000 passes an image.

    python benchmarks/optimality.py --model runs/plain,runs/pgd --data mnist --images 100 \
        --out runs/optimality

AttackBench's local optimality (Cinà et al., "AttackBench: evaluating gradient-based attacks for
adversarial examples", AAAI 2025): the area below the curve of robust accuracy over the distance, A,
against A* of the nearest point of each image over all attacks,

    1 - (A - A*) / (A0 - A*)

where A0 is the area of an attack that finds nothing. The curve ends at the largest of the nearest
distances; what is farther counts as that. Global optimality is the mean over the networks.

Forward and backward passes count alike; attacks have as many steps as 2,000 of them allow, and what
each really took is in the table. What is done is kept in --out, attack by attack.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from attack_strength import markdown, ours
from contest import Contest, kept
from peers import adversarial_library, foolbox

from holdfast import attacks, data
from holdfast.files import write_text
from holdfast.models import loading
from holdfast.threat import L0, L1, L2, Linf

PASSES = 2000

#: Steps of a forward and a backward pass; the rest is for last looks.
STEPS = PASSES // 2 - 6


def contests() -> Iterator[Contest]:
    """For each norm ours, and the best of the peers."""
    free = Linf(math.inf)
    linf = {
        "nearest": ours(attacks.Nearest(free, steps=PASSES)),
        "FMN": ours(attacks.FMN(free, steps=STEPS)),
        "PDPGD": ours(attacks.PDPGD(free, steps=STEPS)),
        "adv-lib FMN": adversarial_library("fmn", norm=math.inf, steps=STEPS),
        "adv-lib PDPGD": adversarial_library("pdpgd", norm=math.inf, num_steps=STEPS),
        "adv-lib APGD-T, bisected": adversarial_library(
            "auto_pgd.minimal_apgd",
            norm=math.inf,
            max_eps=0.5,
            targeted_version=True,
            num_targets=3,
            n_iter=32,
            binary_search_steps=10,
        ),
        "adv-lib FAB": adversarial_library("fab", norm=math.inf, n_iter=PASSES // 11),
    }
    yield Contest("nearest", free, linf)
    two = L2(math.inf)
    l2 = {
        "nearest": ours(attacks.Nearest(two, steps=PASSES)),
        "nearest, 1,000 passes": ours(attacks.Nearest(two, steps=PASSES // 2)),
        "DDN": ours(attacks.DDN(two, steps=STEPS)),
        "FMN": ours(attacks.FMN(two, steps=STEPS)),
        "ALMA": ours(attacks.ALMA(two, steps=STEPS)),
        "PDPGD": ours(attacks.PDPGD(two, steps=STEPS)),
        "adv-lib DDN": adversarial_library("ddn", steps=STEPS, levels=None),
        "adv-lib FMN": adversarial_library("fmn", norm=2, steps=STEPS),
        "adv-lib ALMA": adversarial_library("alma", num_steps=STEPS, init_lr_distance=1),
        "adv-lib PDGD": adversarial_library("pdgd", num_steps=STEPS),
        "foolbox DDN": foolbox("DDNAttack", steps=STEPS),
    }
    yield Contest("nearest", two, l2)
    one = L1(math.inf)
    l1 = {
        "nearest": ours(attacks.Nearest(one, steps=PASSES)),
        "FMN": ours(attacks.FMN(one, steps=STEPS)),
        "PDPGD": ours(attacks.PDPGD(one, steps=STEPS)),
        "ALMA": ours(attacks.ALMA(one, steps=STEPS)),
        "EAD": ours(attacks.EAD(one, steps=STEPS // 9, searches=9)),
        "adv-lib FMN": adversarial_library("fmn", norm=1, steps=STEPS),
        "adv-lib PDPGD": adversarial_library("pdpgd", norm=1, num_steps=STEPS),
        "adv-lib ALMA": adversarial_library(
            "alma", distance="l1", num_steps=STEPS, init_lr_distance=1
        ),
        "foolbox EAD": foolbox(
            "EADAttack", steps=PASSES // 27, binary_search_steps=9, decision_rule="L1"
        ),
    }
    yield Contest("nearest", one, l1)
    none = L0(math.inf)
    l0 = {
        "nearest": ours(attacks.Nearest(none, steps=PASSES)),
        "σ-zero": ours(attacks.SigmaZero(none, steps=STEPS)),
        "PDPGD": ours(attacks.PDPGD(none, steps=STEPS)),
        "adv-lib σ-zero": adversarial_library("sigma_zero", num_steps=STEPS),
        "adv-lib FMN": adversarial_library("fmn", norm=0, steps=STEPS),
        "adv-lib PDPGD": adversarial_library(
            "pdpgd", norm=0, proximal_operator=23, num_steps=STEPS
        ),
    }
    yield Contest("nearest", none, l0)


def optimality(distance: np.ndarray, nearest: np.ndarray) -> float:
    """1 - (A - A*) / (A0 - A*) of one attack; see above.

    The area below the curve is the mean distance.

    Args:
        distance: (N,) of the attack's points; infinite where none was found, 0 where the model is
            wrong by itself.
        nearest: (N,) the least over all attacks.
    """
    farthest = float(nearest[np.isfinite(nearest)].max())
    least = float(nearest.clip(max=farthest).mean())
    nothing = farthest * float((nearest > 0).mean())
    return 1 - (float(distance.clip(max=farthest).mean()) - least) / (nothing - least)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="one or more, as holdfast evaluate does")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--norm", default="linf,l2,l1,l0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    images = data.load(options.data, data_dir=options.data_dir, limit=options.images)
    x, y = (z.to(options.device) for z in (images.x(torch.arange(len(images))), images.y))
    lines: list[dict[str, object]] = []
    for contest in contests():
        if contest.threat.name not in options.norm.split(","):
            continue
        for name in options.model.split(","):
            out = options.out / Path(name).name
            out.mkdir(parents=True, exist_ok=True)
            model = loading.load(name).eval().to(options.device)
            done = {}
            for entry in contest.entries:
                try:
                    done[entry] = kept(contest, entry, model, x, y, out, len(x))
                except Exception as error:
                    if not entry.startswith(("adv-lib", "foolbox")):
                        raise
                    print(f"{entry} failed: {type(error).__name__}: {error}", file=sys.stderr)
            nearest = np.minimum.reduce([rows["distance"].to_numpy() for rows, _ in done.values()])
            right = nearest > 0
            for entry, (rows, cost) in done.items():
                distance = rows["distance"].to_numpy()
                lines.append(
                    {
                        "norm": contest.threat.name,
                        "network": Path(name).name,
                        "attack": entry,
                        "passes": round(cost["forwards"] + cost["backwards"]),
                        "found, %": 100 * float(np.isfinite(distance).mean()),
                        "median distance": float(np.median(distance[right])),
                        "optimality": round(optimality(distance, nearest), 4),
                    }
                )
    heading = f"{options.model}, {len(x)} images of {options.data}"
    for name, table in (("table", lines), ("global", overall(lines))):
        text = markdown(table)
        write_text(options.out / f"{name}.md", f"{heading}\n\n{text}\n")
        print(f"\n{text}")


def overall(lines: list[dict[str, object]]) -> list[dict[str, object]]:
    """Global optimality: a line for each attack, from the best."""
    table = pd.DataFrame(lines)
    mean = table.groupby(["norm", "attack"], sort=False)["optimality"].mean().reset_index()
    ranked = mean.sort_values("optimality", ascending=False, kind="stable")
    return [
        {"norm": norm, "attack": line["attack"], "global optimality": f"{line['optimality']:.4f}"}
        for norm in table["norm"].unique()
        for _, line in ranked[ranked["norm"] == norm].iterrows()
    ]


if __name__ == "__main__":
    main()
