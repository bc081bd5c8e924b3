"""What else breaks an image that the suite in a budget leaves: parts of about 2,000 passes each.

    python benchmarks/suite_parts.py --model runs/pgd --data mnist --images 1000 --norm linf \
        --eps 0.25 --out runs/parts/pgd

Every part meets every image that `worst-case(budget=1500)` left, by itself, so that the rows in
--out tell which image falls to which: what a suite of several would leave follows from them. The
table has for each part how many it broke, and how many of those no other did. What is done is kept,
part by part.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from attack_strength import markdown, ours
from ball import asked
from contest import Contest, Crafts, kept
from torch import Tensor, nn

from holdfast import attacks, goals
from holdfast.attacks import AdaptiveAscent, Attack, falling_sigma
from holdfast.files import write_text
from holdfast.gradients import Average, autograd
from holdfast.types import Gradient, Threat

_BUDGET = 1500


def parts(threat: Threat) -> dict[str, Attack]:
    """By what they follow."""
    averaged = Average(samples=4, noise=falling_sigma(threat))
    again: dict[str, Any] = {"restarts": 10, "random_start": True}
    found: dict[str, Attack] = {
        "nearest": replace(attacks.Nearest(threat, steps=2000), early_stop=True),
        "averaged, 9 targets": attacks.MALT(threat, targets=9, steps=22, gradient=averaged),
        "averaged, 3 targets": attacks.MALT(threat, targets=3, steps=70, gradient=averaged),
        "averaged margin, 10 runs": attacks.SecondOrder(
            threat, steps=22, samples=4, goal=goals.margin, **again
        ),
        "averaged cross-entropy, 10 runs": attacks.SecondOrder(
            threat, steps=22, samples=4, **again
        ),
        "margin, 10 runs": attacks.APGD(threat, steps=99, goal=goals.margin, restarts=10),
        "cross-entropy, 10 runs": attacks.APGD(threat, steps=99, restarts=10),
        "9 targets": attacks.MALT(threat, targets=9, steps=110),
        "square": attacks.Square(threat, queries=2000),
        "fab-t": attacks.FAB(threat, targets=9, steps=74, early_stop=True),
        "fmn": attacks.FMN(threat, steps=1000, early_stop=True),
        "pdpgd": attacks.PDPGD(threat, steps=1000),
    }
    if threat.p == 2:
        found["alma"] = attacks.ALMA(threat, steps=1000)
    return found


def diversified(
    threat: Threat, runs: int, steps: int, gradient: Gradient = autograd, learnt: bool = False
) -> Crafts:
    """Ascents of the margin that begin where seven steps along a random mix of the logits lead.

    Tashiro et al., "Diversity can be enhanced", NeurIPS 2020; ``learnt`` mixes as A3 does (Liu et
    al., CVPR 2022): away from the label and towards one class after another, the likeliest first.
    """

    def craft(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            ranked = model(x).scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
        result, left = x.clone(), torch.arange(len(x), device=x.device)
        for run in range(runs):
            mix = torch.rand(len(left), ranked.shape[1], generator=generator).to(x) * 2 - 1
            if learnt:
                away = torch.rand(len(left), 1, generator=generator).to(x) * 0.6 - 0.5
                target = ranked[left, run % (ranked.shape[1] - 1), None]
                mix = mix.scatter(1, y[left, None], away).scatter(1, target, 0.8)
            start = _along(model, x[left], mix, threat, generator)
            ascent = AdaptiveAscent(
                threat=threat,
                steps=steps,
                start=lambda *_, begin=start: begin,
                goal=goals.margin,
                gradient=gradient,
                annealed=True,
            )
            found = ascent(model, x[left], y[left], seed=run, index=left)
            with torch.no_grad():
                fell = model(found).argmax(dim=1) != y[left]
            result[left[fell]] = found[fell]
            left = left[~fell]
            if not len(left):
                break
        return result

    return craft


def _along(
    model: nn.Module, x0: Tensor, mix: Tensor, threat: Threat, generator: torch.Generator
) -> Tensor:
    noise = torch.rand(x0.shape, generator=generator).to(x0) * 2 - 1
    x = threat.project(x0 + threat.eps * threat.steepest(noise), x0)
    for _ in range(7):
        x.requires_grad_()
        slope = torch.autograd.grad((model(x) * mix).sum(), x)[0]
        x = threat.project(x.detach() + threat.eps / 2 * threat.steepest(slope), x0)
    return x


def main() -> None:
    model, x, y, threat, out = asked(__doc__, images=1000)
    suite = Contest("suite", threat, {"left": ours(attacks.WorstCase(threat, budget=_BUDGET))})
    rows, _ = kept(suite, "left", model, x, y, out, len(x))
    left = torch.from_numpy(np.flatnonzero(~rows["fooled"])).to(x.device)
    if not len(left):
        print("nothing is left for the parts")
        return
    averaged = Average(samples=4, noise=falling_sigma(threat))
    entries = {
        "mixed logits, 10 runs": diversified(threat, runs=10, steps=90),
        "mixed logits, 20 runs": diversified(threat, runs=20, steps=40),
        "mixed logits, averaged, 10 runs": diversified(threat, 10, 20, averaged),
        "learnt starts, 10 runs": diversified(threat, runs=10, steps=90, learnt=True),
    } | {name: ours(part) for name, part in parts(threat).items()}
    contest = Contest("part", threat, entries)
    fell: dict[str, np.ndarray] = {}
    passes: dict[str, float] = {}
    for name in contest.entries:
        rows, cost = kept(contest, name, model, x[left], y[left], out, len(left))
        fell[name] = rows["fooled"].to_numpy(dtype=bool)
        passes[name] = cost["forwards"] + cost["backwards"]
        text = markdown(table(fell, passes))
        write_text(out / "parts.md", f"{len(left)} of {len(x)} images left\n\n{text}\n")
    print(text)


def table(fell: dict[str, np.ndarray], passes: dict[str, float]) -> list[dict[str, object]]:
    """A line for each part."""
    times = np.sum([*fell.values()], axis=0)
    return [
        {
            "part": name,
            "passes": round(passes[name]),
            "broke": int(broke.sum()),
            "alone": int((broke & (times == 1)).sum()),
        }
        for name, broke in fell.items()
    ]


if __name__ == "__main__":
    main()
