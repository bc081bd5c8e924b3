"""What breaks most for few passes of what a short ascent leaves: parts of equal cost.

    python benchmarks/cheap_parts.py --model runs/pgd --data mnist --images 1000 --norm linf \
        --eps 0.25 --out runs/cheap/pgd

Each part meets, by itself, every image that the first part of `worst-case(budget=1500)` leaves.
The parts take some 86 passes an image, forward and backward together, and some 430.
"""

import numpy as np
import torch
from attack_strength import markdown, ours
from ball import asked
from contest import Contest, kept

from holdfast import attacks, goals
from holdfast.attacks import Attack, falling_sigma
from holdfast.attacks.budget import parts_within
from holdfast.gradients import Average
from holdfast.types import Threat

_BUDGET = 1500


def parts(threat: Threat) -> dict[str, dict[str, Attack]]:
    """By what they follow, at each cost."""
    over = {draws: Average(samples=draws, noise=falling_sigma(threat)) for draws in (1, 2, 4)}
    return {
        "the margin (APGD)": {
            "86": attacks.APGD(threat, steps=42, goal=goals.margin),
            "430": attacks.APGD(threat, steps=42, goal=goals.margin, restarts=5),
        },
        "the margin, slopes averaged over 4 draws (S-O)": {
            "86": attacks.SecondOrder(threat, steps=9, samples=4, goal=goals.margin),
            "430": attacks.SecondOrder(
                threat, steps=15, samples=4, goal=goals.margin, restarts=3, random_start=True
            ),
        },
        "towards the nearest classes (MALT)": {
            "86": attacks.MALT(threat, steps=11),
            "430": attacks.MALT(threat, steps=40, targets=5),
        },
        "towards the nearest classes, averaged over 2 draws": {
            "86": attacks.MALT(threat, steps=4, gradient=over[2]),
            "430": attacks.MALT(threat, steps=26, gradient=over[2]),
        },
        "the margin from elsewhere (ODI)": {
            "86": attacks.ODI(threat, steps=40, restarts=1, mixing=2),
            "430": attacks.ODI(threat, steps=40, restarts=5, mixing=2),
        },
        "the margin from elsewhere, averaged over 1 draw": {
            "86": attacks.ODI(threat, steps=25, restarts=1, mixing=2, gradient=over[1]),
            "430": attacks.ODI(threat, steps=44, restarts=3, mixing=2, gradient=over[1]),
        },
        "the margin from elsewhere, averaged over 2 draws": {
            "86": attacks.ODI(threat, steps=14, restarts=1, mixing=2, gradient=over[2]),
            "430": attacks.ODI(threat, steps=40, restarts=2, mixing=2, gradient=over[2]),
        },
        "the margin from elsewhere, averaged over 4 draws": {
            "86": attacks.ODI(threat, steps=6, restarts=1, mixing=2, gradient=over[4]),
            "430": attacks.ODI(threat, steps=20, restarts=2, mixing=2, gradient=over[4]),
        },
    }


def main() -> None:
    model, x, y, threat, out = asked(__doc__, images=1000)
    first = Contest("first", threat, {"left": ours(parts_within(threat, _BUDGET)[0].attack)})
    rows, _ = kept(first, "left", model, x, y, out, len(x))
    left = torch.from_numpy(np.flatnonzero(~rows["fooled"])).to(x.device)
    if not len(left):
        print("nothing is left for the parts")
        return
    lines = []
    for name, of_cost in parts(threat).items():
        line: dict[str, object] = {"part": name}
        for cost, attack in of_cost.items():
            contest = Contest(name, threat, {cost: ours(attack)})
            rows, spent = kept(contest, cost, model, x[left], y[left], out, len(left))
            passes = spent["forwards"] + spent["backwards"]
            line[f"broke in {cost}"] = f"{int(rows['fooled'].sum())} ({passes:.0f})"
        lines.append(line)
    print(f"{len(left)} of {len(x)} images left; passes an image, fallen ones among them, behind\n")
    print(markdown(lines))


if __name__ == "__main__":
    main()
