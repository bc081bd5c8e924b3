"""What each interval certifies at each number of votes, beside how often it is wrong.

    python benchmarks/intervals_table.py --runs runs/cert-100,runs/cert-1000,runs/cert-10000 \
        --radii 0.75,1.4,1.58

Each run is a folder of `holdfast certify`. Beside the certified accuracy of its images stands the
largest radius that so many votes can give, and the coverage: the fraction of 10,000 simulated
samplings, of a class whose probability is known, in which the certificate is no larger than that
probability allows. Shown is the worst over a grid of probabilities, with that probability; for the
sequential interval a sampling counts as wrong if it is so at any of its looks. The simulated
scores, which Hoeffding's limits take, are the votes. An interval that holds has a coverage of its
confidence at least.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from attack_strength import markdown
from numpy.random import Generator

from holdfast.certify import Sampling, Sequential, certificates
from holdfast.certify.bounds.bound import round_down
from holdfast.certify.config import CertificationConfig
from holdfast.certify.intervals.interval import Interval
from holdfast.certify.sequential import looks
from holdfast.certify.smoothing import named_bound, named_noise
from holdfast.metrics import certified
from holdfast.report.folders import CertifiedRun
from holdfast.report.subjects import read_subjects
from holdfast.specs import split

PROBABILITIES = (0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999)


def coverage(interval: Interval, n: int, n0: int, classes: int, times: int) -> tuple[float, float]:
    """The lowest fraction of right samplings over the probabilities, and where."""
    rng = np.random.default_rng(0)
    fractions = []
    for p in PROBABILITIES:
        wrong = np.zeros(times, dtype=bool)
        for drawn in samplings(p, interval, n, n0, classes, times, rng):
            top, p1, p2 = interval(drawn)
            # Only two classes are ever answered, so that a wrong class is one of less than half.
            truth = np.where(top == 0, p, 1 - p)
            wrong |= (p1 > p2) & ((p1 > truth) | (p2 < 1 - truth))
        fractions.append(1 - float(wrong.mean()))
    worst = int(np.argmin(fractions))
    return fractions[worst], PROBABILITIES[worst]


def samplings(
    p: float, interval: Interval, n: int, n0: int, classes: int, times: int, rng: Generator
) -> Iterator[Sampling]:
    """What the interval looks at: all votes at once, or what there is at each look."""
    law = np.zeros(classes)
    law[:2] = p, 1 - p
    choice, counts = rng.multinomial(n0, law, size=times), np.zeros((times, classes), dtype=int)
    for first, last in looks(n) if isinstance(interval, Sequential) else [(0, n)]:
        counts = counts + rng.multinomial(last - first, law, size=times)
        yield Sampling(counts, counts / last, choice)


def largest(run: CertifiedRun, interval: Interval, n: int, classes: int) -> float:
    """The radius when all votes agree, to be shown with three digits."""
    sigma = float(run.settings["sigma"])
    bound = named_bound(run.bound, named_noise(run.settings["noise"]))
    alike = certificates(Sampling.unanimous(n, classes), interval, bound, sigma)
    return float(round_down(alike.radius, 3)[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", required=True, help="folders of certify, between commas")
    parser.add_argument("--radii", default="0.5,1,1.5", help="between commas")
    parser.add_argument("--bounds", default="renyi", help="specs between commas")
    parser.add_argument("--times", type=int, default=10_000)
    options = parser.parse_args()
    bounds = split(options.bounds)
    radii = [float(radius) for radius in options.radii.split(",")]
    runs = [
        run
        for subject in read_subjects([Path(folder) for folder in options.runs.split(",")])
        for classifier in subject.classifiers
        for run in classifier.certifications
        if run.bound in bounds
    ]
    lines = []
    for run in sorted(runs, key=lambda run: (run.settings["votes"], not run.guaranteed)):
        n, classes = int(run.settings["votes"]), len(run.about["classes"])
        how = CertificationConfig(sigma=1, votes=n, confidence=float(run.settings["confidence"]))
        interval = how.limits(run.interval)
        covered, where = coverage(
            interval, n, int(run.settings["selection_votes"]), classes, options.times
        )
        lines.append(
            {
                "votes": n,
                "bound": run.bound,
                "interval": run.interval,
                **{
                    f"at {radius:g}": f"{100 * row.robust_accuracy:.1f} "
                    f"[{100 * row.low:.1f}, {100 * row.high:.1f}]"
                    for radius, row in zip(
                        radii, certified(run.rows, radii).itertuples(), strict=True
                    )
                },
                "largest radius": f"{largest(run, interval, n, classes):.3f}",
                "claims": f"{100 * interval.confidence:g} %",
                "holds in": f"{100 * covered:.1f} % (at p = {where:g})",
            }
        )
    print(markdown(lines))


if __name__ == "__main__":
    main()
