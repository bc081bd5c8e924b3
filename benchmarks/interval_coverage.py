"""How often Sison and Glaz's limits of two classes hold at their worst, by exact sums.

    python benchmarks/interval_coverage.py --votes 100,1000

For each p the chances of all n + 1 outcomes are summed, nothing is simulated. Coverage jumps where
p passes a limit of some outcome: beside an even grid, both sides of each such place are looked at.
An outcome counts as wrong if its certificate claims more than p allows: the class that leads is
the other one, its limit p1 lies above the truth, or p2 below the truth of the other.
"""

import argparse

import numpy as np
from attack_strength import markdown
from scipy.stats import binom

from holdfast.certify import Sampling
from holdfast.certify.config import CertificationConfig


def worst(name: str, n: int, confidence: float, grid: np.ndarray) -> tuple[float, float]:
    """The lowest coverage of an interval over the grid and the places between, and where."""
    votes = np.arange(n + 1)
    interval = CertificationConfig(sigma=1, votes=n, confidence=confidence).limits(name)
    top, p1, p2 = interval(Sampling(np.stack([votes, n - votes], axis=1)))
    ends = np.concatenate([p1, 1 - p2])
    ends = ends[(ends > grid[0]) & (ends < grid[-1])]
    grid = np.concatenate([grid, ends - 1e-12, ends + 1e-12])
    truth = np.where(top == 0, grid[:, None], 1 - grid[:, None])
    wrong = (p1 > p2) & ((p1 > truth) | (p2 < 1 - truth))
    covered = 1 - (binom.pmf(votes, n, grid[:, None]) * wrong).sum(axis=1)
    place = int(covered.argmin())
    return float(covered[place]), float(grid[place])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--votes", default="100,1000", help="between commas")
    parser.add_argument("--intervals", default="sison-glaz,stn-2019,clopper-pearson")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--range", default="0.9,0.9999", help="of p, a comma between")
    parser.add_argument("--points", type=int, default=10_000)
    options = parser.parse_args()
    low, high = (float(end) for end in options.range.split(","))
    lines = []
    for n in (int(votes) for votes in options.votes.split(",")):
        for name in options.intervals.split(","):
            grid = np.linspace(low, high, options.points)
            covered, where = worst(name, n, options.confidence, grid)
            lines.append(
                {
                    "votes": f"{n:,}",
                    "interval": name,
                    "holds in": f"{100 * covered:.2f} %",
                    "at p": f"{where:.5f}",
                }
            )
    print(markdown(lines))


if __name__ == "__main__":
    main()
