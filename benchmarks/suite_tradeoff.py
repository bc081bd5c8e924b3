"""What the suite leaves for its passes: budgets, the standard suite, AutoAttack, single attacks.

    python benchmarks/suite_tradeoff.py --name "MNIST, PGD" --model runs/pgd --data mnist \
        --images 100 --norm linf --eps 0.2 --out runs/tradeoff/pgd
    python benchmarks/suite_tradeoff.py --figure docs/results/suite-tradeoff runs/tradeoff/*

The first measures one network, attack by attack as attack_strength.py does, and goes on after an
interruption; the second draws all that were measured and prints their table. The suite in a budget
is run by `holdfast.evaluate`, with its pilot, as a user runs it. AutoAttack is there by our parts
(`autoattack`), and with --peer by torchattacks' too, see attack_strength.py. Passes are
forward and backward ones together, over all images, also those that fall at once. The difference
from AutoAttack is paired by image: below 0, fewer are left.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from attack_strength import markdown, ours
from ball import ask_for_ball, ask_for_pictures, parser_of, pictures_of, threat_of
from contest import Contest, compare, kept
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from peers import autoattack
from torch import Tensor, nn

from holdfast import attacks, evaluate, goals, metrics
from holdfast.evaluation import EvaluationConfig
from holdfast.files import read_json, write_json
from holdfast.report import style
from holdfast.types import Threat

_ACROSS = 3  # panels beside each other

#: What passes and images left are held against, and the same by another library.
REFERENCE, PEER = "AutoAttack", "AutoAttack, by torchattacks"

_SINGLE = ("PGD, 40 steps", "APGD, 100 steps", "APGD on the margin, 100 steps", "MALT")

#: Of most images a tenth of what AutoAttack spends, and half of it; and less.
BUDGETS = (1500, 8000, 500, 200, 100)


def contest(name: str, threat: Threat, peer: bool) -> Contest:
    """AutoAttack, the whole suite and single attacks, what says most first."""
    entries = {REFERENCE: ours(attacks.AutoAttack(threat))}
    entries["standard"] = ours(attacks.Standard(threat))
    if peer:
        norm = {"linf": "Linf", "l2": "L2"}[threat.name]
        entries[PEER] = autoattack(norm, threat.eps)
    entries |= {
        "PGD, 40 steps": ours(attacks.PGD(threat, steps=40)),
        "APGD, 100 steps": ours(attacks.APGD(threat)),
        "APGD on the margin, 100 steps": ours(attacks.APGD(threat, goal=goals.margin)),
        "MALT": ours(attacks.MALT(threat)),
    }
    return Contest(name, threat, entries)


def measured(options: argparse.Namespace) -> None:
    """One network, into its folder: the table grows with every attack."""
    model, x, y = pictures_of(options)
    threat = threat_of(options)
    options.out.mkdir(parents=True, exist_ok=True)
    runs = contest(options.name, threat, options.peer)
    done: dict[str, tuple[pd.DataFrame, dict[str, float]]] = {}
    size = options.batch_size or len(x)
    budgets = {f"budget={budget}": budget for budget in options.budgets}
    names = dict.fromkeys([next(iter(budgets)), REFERENCE, *budgets, *runs.entries])
    for entry in list(names)[: options.first]:
        try:
            if entry in budgets:
                done[entry] = budgeted(budgets[entry], threat, model, x, y, options.out, size)
            else:
                done[entry] = kept(runs, entry, model, x, y, options.out, size)
        except Exception as error:
            if entry != PEER:
                raise
            print(f"{entry} failed: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        about = {"name": options.name, "images": len(x), "lines": lines(threat, done)}
        write_json(options.out / "tradeoff.json", about)
    print(markdown(table([about])))


def budgeted(
    budget: int, threat: Threat, model: nn.Module, x: Tensor, y: Tensor, out: Path, batch_size: int
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Rows and cost of the suite in a budget, as `kept` tells them of an attack by itself."""
    config = EvaluationConfig(batch_size=batch_size, keep_images=0, audit=0, hidden=False)
    suite = attacks.WorstCase(threat, budget=budget)
    print(f"worst-case, {threat}, budget={budget} ...", flush=True)
    folder = out / f"worst-case_{budget}"
    found = evaluate(model, x, y, {"worst-case": suite}, config=config, out=folder)
    for said in metrics.untried(found.cells):
        print(said)
    rows = found.rows[found.rows["attack"] == "worst-case"].reset_index(drop=True)
    cost = {column: float(rows[column].mean()) for column in ("forwards", "backwards")}
    return rows, {**cost, "seconds": float(found.cells[0]["seconds"])}


def lines(
    threat: Threat, done: dict[str, tuple[pd.DataFrame, dict[str, float]]]
) -> list[dict[str, Any]]:
    """What each attack left and took, and by how much less than AutoAttack, image by image."""
    said = []
    for entry, (rows, cost) in done.items():
        line = {
            "library": entry,
            "size": f"{threat.name} {threat.eps:g}",
            "robust, %": 100 * float((~rows["fooled"]).mean()),
            **cost,
        }
        if REFERENCE in done and entry != REFERENCE:
            line["less AutoAttack's"] = compare(rows, done[REFERENCE][0], threat)["ours - theirs"]
        said.append(line)
    return said


def passes(line: dict[str, Any]) -> float:
    """Forward and backward, an image."""
    return float(line["forwards"]) + float(line["backwards"])


def table(networks: list[dict[str, Any]]) -> list[dict[str, object]]:
    """A line for each network and attack; passes as a fraction of AutoAttack's by our parts."""
    lines: list[dict[str, object]] = []
    for network in networks:
        whole = {str(line["library"]): line for line in network["lines"]}
        reference = whole.get(REFERENCE)
        for name, line in whole.items():
            of = passes(line) / passes(reference) if reference else None
            lines.append(
                {
                    "network": network["name"],
                    "size": line["size"],
                    "attack": name,
                    "left, %": line["robust, %"],
                    "passes": f"{line['forwards']:.0f} + {line['backwards']:.0f}",
                    "of AutoAttack's": None if of is None else f"{of:.3f}",
                    "less AutoAttack's, points [95 %]": line.get("less AutoAttack's"),
                }
            )
    return lines


def figure(networks: list[dict[str, Any]]) -> Figure:
    """What is left over passes, a panel for each network; lower left is better."""
    rows = -(-len(networks) // _ACROSS)
    with mpl.rc_context(style.STYLE):
        drawn = Figure(figsize=(2.9 * _ACROSS, 2.4 * rows), layout="constrained")
        panels = drawn.subplots(rows, _ACROSS, squeeze=False, sharex=True).flatten()
        for axes in panels[len(networks) :]:
            axes.set_visible(False)
        for axes, network in zip(panels, networks, strict=False):
            _panel(axes, network)
        for axes in panels[max(len(networks) - _ACROSS, 0) : len(networks)]:  # the lowest
            axes.tick_params(labelbottom=True)
        drawn.supxlabel("forward and backward passes an image, mean over all")
        drawn.supylabel("images left, %")
        drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
        return style.settled(drawn)


def _panel(axes: Axes, network: dict[str, Any]) -> None:
    lines = {str(line["library"]): line for line in network["lines"]}
    size = next(iter(lines.values()))["size"]
    axes.set_title(f"{network['name']}, {size}", fontsize=10)
    axes.set_xscale("log")
    for label, colour, marker, joined, names in (
        ("the suite in a budget", style.BLUE, "o", "-", [n for n in lines if "budget=" in n]),
        ("standard", style.GREEN, "D", "none", ["standard"]),
        ("AutoAttack", style.RED, "s", "none", [n for n in lines if n in (REFERENCE, PEER)]),
        ("single attacks", style.GREY, "x", "none", [n for n in lines if n in _SINGLE]),
    ):
        there = [n for n in names if n in lines]
        if not there:
            continue
        points = sorted((passes(lines[n]), float(lines[n]["robust, %"])) for n in there)
        passed, left = zip(*points, strict=True)
        axes.plot(passed, left, color=colour, marker=marker, linestyle=joined, label=label)
    axes.margins(y=0.15)
    axes.xaxis.set_major_formatter("{x:g}")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--figure", type=Path, help="draw the folders that are named after it")
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--name", default="")
    ask_for_pictures(parser, images=100, required=False)
    ask_for_ball(parser)
    parser.add_argument("--batch-size", type=int, help="all images at once by default")
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    parser.add_argument("--first", type=int, help="no more than so many attacks")
    parser.add_argument("--peer", action="store_true", help="AutoAttack by torchattacks too")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.figure is None:
        if not (options.model and options.out):
            parser.error("--model and --out are needed to measure, --figure to draw")
        measured(options)
        return
    networks = [read_json(folder / "tradeoff.json") for folder in options.folders]
    style.save(figure(networks), options.figure)
    print(markdown(table(networks)))


if __name__ == "__main__":
    main()
