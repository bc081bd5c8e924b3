"""Votes against what they prove: fixed n, sequential votes, and an oracle that knows p.

    holdfast certify --model runs/net --data mnist --sigma 0.5 --votes 2000 --images 200 \
        --out runs/recorded
    python benchmarks/fewer_votes.py --figure docs/results/fewer-votes "MNIST=runs/recorded" ...

Each network is a run with fixed n, whose votes tell the probability of each image's true class;
all votes are then drawn anew by every procedure, at one confidence and with Cohen's bound. An
image's probability is one that its recorded votes leave likely, drawn from Jeffreys's posterior,
another for each of --images simulated ones. Radii are in units of σ, on which nothing hangs.

The oracle knows p and chooses to draw only for what it can prove. No test of error α that ends with
certainty takes fewer than log(1/α) / KL(p, q) votes on average to prove p > q (Wald 1945): what
stands in the table is the mean of that over images, and never more than fixed n. Beside it what is
left where it may lose half a point at each radius too, the dearest images first.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from attack_strength import markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtr, ndtri, rel_entr

from holdfast.certify import (
    AtLeast,
    InputSpecific,
    Sampling,
    Sequential,
    Within,
    cohen_radius,
)
from holdfast.certify.input_specific import allotted
from holdfast.certify.questions import Question, answered
from holdfast.certify.sequential import looks
from holdfast.report import style
from holdfast.statistics import Array, Counts, lower_limit

CONFIDENCE, MOST, SELECTION = 0.999, 100_000, 100

#: Selection votes where they also decide how many others there are.
PILOT = 500

#: Radii of interest, in units of σ.
RADII = np.array([0.5, 1.0, 1.5, 2.0, 2.5, 3.0])

#: Between which `Within` is asked, in units of σ.
BETWEEN = (0.5, 3.0)

#: Of the radius that fixed n would prove, what `Within` asks for.
FACTOR = 0.9

#: Points that may be lost at each radius.
ALLOWED = 0.5


class Outcome(NamedTuple):
    """What a procedure found for N images."""

    votes: Array  # (N,) with those that choose the class
    radius: Array  # (N,) in units of σ


def probabilities(run: Path, images: int, rng: np.random.Generator) -> Array:
    """Of the true class, one likely value for each of so many simulated images."""
    rows = pd.read_csv(run / "rows.csv", usecols=["index", "votes", "label"])
    rows = rows.drop_duplicates("index").sample(images, replace=True, random_state=0)
    votes = [dict(pair.split(":") for pair in row.split()) for row in rows["votes"]]
    right = np.array([int(of.get(str(y), 0)) for of, y in zip(votes, rows["label"], strict=True)])
    drawn = np.array([sum(map(int, of.values())) for of in votes])
    return rng.beta(right + 0.5, drawn - right + 0.5)


def radii(lower: Array) -> Array:
    """By Cohen's bound, from lower limits."""
    return np.asarray(cohen_radius(lower, 1 - lower, 1.0))


def fixed(p: Array, n: int, rng: np.random.Generator) -> Outcome:
    """Cohen et al.'s procedure."""
    votes = rng.binomial(n, p)
    lower = lower_limit(votes, np.full_like(votes, n), 1 - CONFIDENCE)
    return Outcome(np.full(len(p), float(SELECTION + n)), radii(lower))


def sequential(p: Array, question: Question, most: int, rng: np.random.Generator) -> Outcome:
    """Votes that end when the question is answered, as `holdfast certify` draws them."""
    limits = Sequential(CONFIDENCE, most=most)
    settled = answered([question], limits, [cohen_radius], 1.0)
    votes, n = np.zeros(len(p), dtype=np.int64), np.zeros(len(p), dtype=np.int64)
    going = np.arange(len(p))
    for first, last in looks(most):
        votes[going] += rng.binomial(last - first, p[going])
        n[going] = last
        going = going[~settled(_two_classes(votes[going], n[going]))]
        if not len(going):
            break
    return Outcome((SELECTION + n).astype(float), radii(limits.lower(votes, n)))


def input_specific(p: Array, question: Question, rng: np.random.Generator) -> Outcome:
    """As many votes as the selection votes call for, as `holdfast certify` draws them."""
    limits = InputSpecific(CONFIDENCE, most=MOST)
    enough = allotted([question], limits, [cohen_radius], 1.0)
    leading, n = rng.binomial(PILOT, p), np.zeros(len(p), dtype=np.int64)
    chosen = np.stack([leading, PILOT - leading], axis=1)
    for _, last in looks(MOST):
        going = np.flatnonzero(n == 0)
        drawn = np.full((len(going), 2), (last, 0))
        n[going[enough(Sampling(drawn, None, chosen[going]))]] = last
    lower = lower_limit(rng.binomial(n, p), n, 1 - CONFIDENCE)
    return Outcome((PILOT + n).astype(float), radii(lower))


def _two_classes(votes: Counts, n: Counts) -> Sampling:
    chosen = np.tile([1, 0], (len(votes), 1))
    return Sampling(np.stack([votes, n - votes], axis=1), None, chosen)


def cost(p: Array, q: Array) -> Array:
    """(N,) votes that proving p > q takes on average at least, at most fixed n; 0 where q is 0."""
    with np.errstate(divide="ignore"):
        least = -np.log(1 - CONFIDENCE) / (rel_entr(p, q) + rel_entr(1 - p, 1 - q))
    return np.where(q > 0, np.minimum(least, MOST), 0)


def oracle_at_radii(p: Array, reached: Array) -> tuple[float, float]:
    """Mean votes of who knows p, for the largest radius that fixed n proves; and with ALLOWED."""
    claims = np.concatenate([[0.0], ndtr(RADII)])
    level = (reached[:, None] >= RADII).sum(axis=1)
    whole = SELECTION + cost(p, claims[level]).mean()
    for k in range(len(RADII), 0, -1):
        at = np.flatnonzero(level == k)
        dearest = at[np.argsort(-cost(p[at], claims[level[at]]))]
        level[dearest[: int(ALLOWED / 100 * len(p))]] -= 1
    return whole, SELECTION + cost(p, claims[level]).mean()


def oracle_within(p: Array, least: float, most: float) -> tuple[float, float]:
    """Mean votes of who knows p, to prove FACTOR of the radius; and to rule out more than that.

    The second is of who proves a radius l and that the true one is at most l / FACTOR, with the
    same confidence, at the l that costs least.
    """
    best = radii(np.array([(1 - CONFIDENCE) ** (1 / MOST)]))[0]  # of equal votes
    z = np.minimum(ndtri(np.clip(p, 0, 1 - 1e-16)), best)
    known = np.clip(z, least, most)
    asked = (z > least) & (FACTOR * known > least)
    lower = np.where(asked, ndtr(FACTOR * known), 0.0)
    one_side = cost(p, lower)
    both = np.full(len(p), np.inf)
    for part in np.linspace(FACTOR, 1, 41)[1:-1]:
        lower = np.where(asked, ndtr(part * known), 0.0)
        ruled_out = known * part / FACTOR  # unless it is out of reach, or counts as the most
        upper = np.where(ruled_out < min(most, best), ndtr(ruled_out), 0.0)
        both = np.minimum(both, np.maximum(cost(p, lower), cost(p, upper)))
    return SELECTION + one_side.mean(), SELECTION + np.where(asked, both, 0).mean()


def measured(p: Array, rng: np.random.Generator) -> dict[str, Outcome]:
    """Every procedure on the same images."""
    everywhere, between = Within(FACTOR), Within(FACTOR, BETWEEN)
    at_radii = AtLeast(tuple(RADII))
    return {
        **{f"n = {n:,}": fixed(p, n, rng) for n in (1000, 3000, 10_000, 30_000, MOST)},
        "radii": sequential(p, at_radii, MOST, rng),
        "within": sequential(p, everywhere, MOST, rng),
        "between": sequential(p, between, MOST, rng),
        "radii, input-specific": input_specific(p, at_radii, rng),
        "within, input-specific": input_specific(p, everywhere, rng),
        "between, input-specific": input_specific(p, between, rng),
    }


def lost(outcome: Outcome, reference: Outcome) -> Array:
    """Points of certified accuracy at each radius of interest."""
    return 100 * (
        (reference.radius[:, None] >= RADII).mean(axis=0)
        - (outcome.radius[:, None] >= RADII).mean(axis=0)
    )


def share(outcome: Outcome, reference: Outcome) -> Array:
    """Of the radius that fixed n proves, both clipped to BETWEEN, where it is beyond its least."""
    known = reference.radius > BETWEEN[0]
    return np.clip(outcome.radius[known], *BETWEEN) / np.clip(reference.radius[known], *BETWEEN)


def table(networks: dict[str, tuple[Array, dict[str, Outcome]]]) -> list[dict[str, object]]:
    """A line for each network and procedure."""
    lines: list[dict[str, object]] = []
    for name, (p, found) in networks.items():
        reference = found[f"n = {MOST:,}"]
        full = SELECTION + MOST
        one, allowed = oracle_at_radii(p, reference.radius)
        within, between = oracle_within(p, 0.0, np.inf), oracle_within(p, *BETWEEN)
        oracles = {
            "radii": f"{full / one:.1f}, with {ALLOWED} points {full / allowed:.1f}",
            "within": f"{full / within[0]:.1f}, both sides {full / within[1]:.1f}",
            "between": f"{full / between[0]:.1f}, both sides {full / between[1]:.1f}",
        }
        asked = {
            "radii": "`--radii`",
            "within": f"`--within {FACTOR}`",
            "between": f"`--within {FACTOR} --between`",
        }
        titles = {
            **{key: f"sequential {title}" for key, title in asked.items()},
            **{f"{key}, input-specific": f"input-specific {of}" for key, of in asked.items()},
        }
        for procedure, outcome in found.items():
            if procedure in titles or procedure == "n = 10,000":
                votes, points = outcome.votes.mean(), lost(outcome, reference)
                parts = share(outcome, reference)
                lines.append(
                    {
                        "network": name,
                        "votes end by": titles.get(procedure, procedure),
                        "votes": f"{votes:,.0f}",
                        "times fewer": f"{full / votes:.1f}",
                        "oracle's": oracles.get(procedure, ""),
                        "points lost": " ".join(f"{x:.2f}" for x in points),
                        "of the radius, %": f"{100 * parts.mean():.1f}",
                        f"at least {FACTOR}, %": f"{100 * (parts >= FACTOR).mean():.1f}",
                    }
                )
    return lines


def figure(networks: dict[str, tuple[Array, dict[str, Outcome]]]) -> Figure:
    """Points lost, and radius left, over votes: a column for each network."""
    with mpl.rc_context(style.STYLE):
        drawn = Figure(figsize=(2.6 * len(networks), 5.2), layout="constrained")
        panels = drawn.subplots(2, len(networks), sharex=True, sharey="row", squeeze=False)
        for column, (name, (p, found)) in enumerate(networks.items()):
            _panels(panels[0, column], panels[1, column], p, found)
            panels[0, column].set_title(name, fontsize=10)
        panels[0, 0].set_ylabel("points lost, mean\nover six radii")
        panels[1, 0].set_ylabel("mean radius, % of\nn = 100,000's")
        drawn.supxlabel("votes an image, mean over all")
        marks = {
            label: handle
            for panel in panels[:, 0]
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        drawn.legend(marks.values(), marks.keys(), loc="outside upper center", ncols=3)
        return style.settled(drawn)


def _panels(above: Axes, below: Axes, p: Array, found: dict[str, Outcome]) -> None:
    reference = found[f"n = {MOST:,}"]
    same = [each for name, each in found.items() if name.startswith("n = ")]
    for label, colour, marker, joined, outcomes in (
        ("fixed n", style.GREY, "o", "-", same),
        ("sequential, radii", style.BLUE, "D", "none", [found["radii"]]),
        ("sequential, within 0.9", style.RED, "s", "none", [found["between"]]),
        (
            "input-specific, within 0.9",
            style.GREEN,
            "^",
            "none",
            [found["between, input-specific"]],
        ),
    ):
        votes = [each.votes.mean() for each in outcomes]
        how: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "linestyle": joined,
            "label": label,
        }
        if "within" not in label:
            above.plot(votes, [lost(each, reference).mean() for each in outcomes], **how)
        if "radii" not in label:
            below.plot(votes, [100 * share(each, reference).mean() for each in outcomes], **how)
    for axes, least in (
        (above, oracle_at_radii(p, reference.radius)[0]),
        (below, oracle_within(p, *BETWEEN)[0]),
    ):
        axes.axvline(least, color=style.GREY, linestyle=":", label="who knows p, at least")
        axes.set_xscale("log")
        axes.set_xticks([1000, 10_000, MOST])
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter("")
        axes.margins(x=0.12, y=0.1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+", help="TITLE=folder of a run with fixed n")
    parser.add_argument("--images", type=int, default=2000, help="simulated, of each network")
    parser.add_argument("--figure", type=Path, help="where to draw it, without a suffix")
    options = parser.parse_args()
    networks = {}
    for given in options.networks:
        title, folder = given.rsplit("=", 1)
        rng = np.random.default_rng(0)
        p = probabilities(Path(folder), options.images, rng)
        networks[title] = (p, measured(p, rng))
        print(markdown(table({title: networks[title]})), flush=True)
    if options.figure:
        style.save(figure(networks), options.figure)
    print(markdown(table(networks)))


if __name__ == "__main__":
    main()
