"""Holdfast's attacks and their namesakes elsewhere: one model, the same images, budgets and steps.

    python benchmarks/attack_strength.py --model runs/pgd --data mnist --images 300 \
        --linf 0.3 --l2 2.0 --out runs/strength-pgd

Every attack of every library is scored by the same fresh forward pass (see contest.py). What is
done is kept in --out, attack by attack: the same command goes on after an interruption. A table of
all libraries and a summary against the strongest, in Markdown, are printed and written to --out.
tests/peers.txt lists the peers.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from ball import ask_for_pictures, parser_of, pictures_of
from contest import Contest, Crafts, compare, kept
from peers import adversarial_library, art, autoattack, foolbox, torchattacks
from torch import Tensor, nn

from holdfast import attacks, goals
from holdfast.attacks import Attack
from holdfast.files import write_text
from holdfast.threat import L1, L2, Linf
from holdfast.types import Threat


def ours(attack: Attack) -> Crafts:
    return lambda model, x, y: attack(model, x, y, seed=0)


def fixed_budget(threat: Threat) -> Iterator[Contest]:
    """Attacks within an ℓ∞ or ℓ2 ball, at equal steps or queries."""
    eps, norm = threat.eps, {"linf": "Linf", "l2": "L2"}[threat.name]
    linf = norm == "Linf"
    for steps in (40, 100):
        step = 2.5 * eps / steps
        pgd = {
            "holdfast": ours(attacks.PGD(threat, steps=steps)),
            "foolbox": foolbox(f"{norm}PGD", eps, steps=steps, abs_stepsize=step),
            "torchattacks": torchattacks(
                "PGD" if linf else "PGDL2", eps=eps, alpha=step, steps=steps
            ),
        }
        if linf:
            pgd["adv-lib"] = adversarial_library(
                "pgd_linf", ε=eps, steps=steps, absolute_step_size=step
            )
        yield Contest(f"PGD, {steps} steps", threat, pgd)
    if linf:
        mim = {
            "holdfast": ours(attacks.MIM(threat, steps=10)),
            "torchattacks": torchattacks("MIFGSM", eps=eps, alpha=eps / 10, steps=10),
        }
        yield Contest("MIM, 10 steps", threat, mim)
    for loss, goal in (("ce", goals.cross_entropy), ("dlr", goals.dlr)):
        apgd = {
            "holdfast": ours(attacks.APGD(threat, steps=100, goal=goal)),
            "torchattacks": torchattacks("APGD", norm=norm, eps=eps, steps=100, loss=loss),
            "adv-lib": adversarial_library(
                "apgd", eps=eps, norm=threat.p, n_iter=100, loss_function=loss
            ),
        }
        yield Contest(f"APGD, {loss}, 100 steps", threat, apgd)
    targeted = {
        "holdfast": ours(attacks.APGDT(threat, steps=100)),
        "torchattacks": torchattacks("APGDT", norm=norm, eps=eps, steps=100),
        "adv-lib": adversarial_library("apgd_targeted", eps=eps, norm=threat.p, n_iter=100),
    }
    yield Contest("APGD-T, 9 targets, 100 steps", threat, targeted)
    for queries in (1000, 5000):
        square = {
            "holdfast": ours(attacks.Square(threat, queries=queries)),
            "torchattacks": torchattacks("Square", norm=norm, eps=eps, n_queries=queries),
        }
        if queries == 1000:  # its steps ask nearly three times each, and take the longest by far
            square["art"] = art("SquareAttack", norm=threat.p, eps=eps, max_iter=queries)
        yield Contest(f"Square, {queries} queries", threat, square)
    suite = {
        "holdfast": ours(attacks.WorstCase(threat)),
        "AutoAttack, by torchattacks": autoattack(norm, eps),
    }
    yield Contest("suite", threat, suite)


def minimum_norm() -> Iterator[Contest]:
    """Attacks that look for the smallest perturbation, at equal calls."""
    l2 = L2(math.inf)
    deepfool = {
        "holdfast": ours(attacks.DeepFool(l2)),
        "foolbox": foolbox("L2DeepFoolAttack"),
        "torchattacks": torchattacks("DeepFool"),
        "adv-lib": adversarial_library("df", steps=50),
    }
    yield Contest("DeepFool, 50 steps", l2, deepfool)
    for steps in (100, 200):
        ddn = {
            "holdfast": ours(attacks.DDN(l2, steps=steps)),
            "foolbox": foolbox("DDNAttack", steps=steps),
            "adv-lib": adversarial_library("ddn", steps=steps, levels=None),
        }
        yield Contest(f"DDN, {steps} steps", l2, ddn)
    for free, name in ((l2, "L2"), (Linf(math.inf), "LInf"), (L1(math.inf), "L1")):
        fmn = {
            "holdfast": ours(attacks.FMN(free, steps=200)),
            "foolbox": foolbox(f"{name}FMNAttack", steps=200),
            "adv-lib": adversarial_library("fmn", norm=free.p, steps=200),
        }
        yield Contest("FMN, 200 steps", free, fmn)
        fab = {
            "holdfast": ours(attacks.FAB(free, steps=100)),
            "adv-lib": adversarial_library("fab", norm=free.p, n_iter=100),
        }
        if name != "L1":  # torchattacks has none
            fab["torchattacks"] = torchattacks(
                "FAB", norm=name.replace("I", "i"), eps=1e3, steps=100
            )
        yield Contest("FAB, 100 steps", free, fab)
    carlini_wagner = {
        "holdfast": ours(attacks.CarliniWagner(l2, steps=200, searches=9)),
        "foolbox": foolbox("L2CarliniWagnerAttack", steps=200, binary_search_steps=9),
        "adv-lib": adversarial_library("carlini_wagner_l2", max_iterations=200),
    }
    yield Contest("C&W, 9 times 200 steps", l2, carlini_wagner)
    # Shrinking alike; whether a weight c is given up once the objective stalls is a setting of all.
    for given_up in (False, True):
        ead = {
            "holdfast": ours(
                attacks.EAD(
                    L1(math.inf), steps=200, searches=9, shrinkage=0.01, abort_early=given_up
                )
            ),
            "foolbox": foolbox(
                "EADAttack",
                steps=200,
                binary_search_steps=9,
                decision_rule="L1",
                regularization=0.01,
                abort_early=given_up,
            ),
            "torchattacks": torchattacks(
                "EADL1", max_iterations=200, beta=0.01, abort_early=given_up
            ),
        }
        how = ", given up early" if given_up else ""
        yield Contest(f"EAD, rule L1, 9 times 200 steps{how}", L1(math.inf), ead)
    # Foolbox counts steps: its boundary attack asks once or twice in each, HopSkipJump ever more.
    for queries, boundary_steps, hop_steps in ((1000, 850, 5), (5000, 4300, 16)):
        boundary = {
            "holdfast": ours(attacks.Boundary(l2, queries=queries)),
            "foolbox": foolbox("BoundaryAttack", steps=boundary_steps),
        }
        yield Contest(f"Boundary, {queries} queries", l2, boundary)
        hops = {
            "holdfast": ours(attacks.HopSkipJump(l2, queries=queries)),
            "foolbox": foolbox("HopSkipJumpAttack", steps=hop_steps),
        }
        yield Contest(f"HopSkipJump, {queries} queries", l2, hops)


def run(
    contest: Contest, model: nn.Module, x: Tensor, y: Tensor, out: Path, batch_size: int
) -> list[dict[str, object]]:
    """One line of the table for each entry; what has been measured before is read."""
    measured = {}
    for library in contest.entries:
        try:
            measured[library] = kept(contest, library, model, x, y, out, batch_size)
        except Exception as error:
            if library == "holdfast":
                raise
            # A peer that fails is told and left out; ours must not fail.
            print(f"{library} failed: {type(error).__name__}: {error}", file=sys.stderr)
    lines = []
    free = math.isinf(contest.threat.eps)
    for library, (rows, cost) in measured.items():
        line: dict[str, object] = {
            "attack": contest.name,
            "size": contest.threat.name + ("" if free else f" {contest.threat.eps:g}"),
            "library": library,
            "robust, %": 100 * float((~rows["fooled"]).mean()),
            # of the images that were right before
            "median distance": float(rows["distance"][lambda d: d > 0].median()) if free else None,
            "black": int(rows["black"].sum()),
            **cost,
        }
        if library != "holdfast":
            line |= compare(measured["holdfast"][0], rows, contest.threat)
        lines.append(line)
    return lines


def arguments(description: str | None, limit: int) -> argparse.ArgumentParser:
    """The command line of the benchmarks that hold contests."""
    parser = parser_of(description)
    ask_for_pictures(parser, limit)
    parser.add_argument("--linf", type=float, default=0.3)
    parser.add_argument("--l2", type=float, default=2.0)
    parser.add_argument("--only", default="", help="contests whose name holds this")
    return parser


def chosen(options: argparse.Namespace) -> tuple[nn.Module, Tensor, Tensor, list[Contest]]:
    """The model, images, labels and contests that a command line names."""
    contests = [
        *fixed_budget(Linf(options.linf)),
        *fixed_budget(L2(options.l2)),
        *minimum_norm(),
    ]
    contests = [c for c in contests if options.only.lower() in c.name.lower()]
    return *pictures_of(options), contests


def main() -> None:
    parser = arguments(__doc__, limit=300)
    parser.add_argument("--batch-size", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    model, x, y, contests = chosen(options)
    options.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for contest in contests:
        lines += run(contest, model, x, y, options.out, options.batch_size)
    heading = f"{options.model}, {len(x)} images of {options.data}"
    for name, table in (("table", markdown(lines)), ("summary", markdown(summary(lines)))):
        write_text(options.out / f"{name}.md", f"{heading}\n\n{table}\n")
        print(f"\n{table}")


def summary(lines: list[dict[str, object]]) -> list[dict[str, object]]:
    """A line for each contest: ours beside the strongest peer."""
    short = []
    for _, group in pd.DataFrame(lines).groupby(["attack", "size"], sort=False):
        measure = "robust, %" if group["median distance"].isna().all() else "median distance"
        ours = group[group["library"] == "holdfast"].iloc[0]
        peers = group[group["library"] != "holdfast"]
        best = peers.sort_values(measure, kind="stable").iloc[0]
        short.append(
            {
                "attack": ours["attack"],
                "size": ours["size"],
                "measure": measure.removesuffix(", %"),
                "ours": f"{ours[measure]:.4g}",
                "calls": _calls(ours),
                "best peer": best["library"],
                "theirs": f"{best[measure]:.4g}",
                "their calls": _calls(best),
                "ours - theirs [95 %]": best["ours - theirs"],
                "no weaker than any": "yes" if (peers["ours no weaker"] == "yes").all() else "NO",
            }
        )
    return short


def _calls(line: "pd.Series[Any]") -> str:
    return f"{line['forwards']:.0f} + {line['backwards']:.0f}"


def markdown(lines: Sequence[Mapping[str, object]]) -> str:
    """A table; columns in the order in which they first appear."""
    columns = list(dict.fromkeys(name for line in lines for name in line))
    rows = [columns, ["---"] * len(columns)]
    rows += [[_cell(line.get(name)) for name in columns] for line in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
