"""Certified accuracy by sampling that stops by itself, beside a fixed number of votes.

    python benchmarks/sequential_certification.py --model runs/stn-mlp --data mnist --sigma 0.5 \
        --images 200 --votes 100000

Both procedures certify the same images at the same confidence, with Cohen's bound; the fixed one is
Cohen et al.'s. Printed are certified accuracy at every radius of the grid, the largest difference,
and how many times fewer votes were drawn. With --toy the network is replaced by images whose
probability is known, spread as on a trained network, and nothing is run on pixels. With --again the
probabilities are the fractions of votes of a run with fixed n, and all votes are drawn anew, many
times: one run on 200 images says little about the next. Each time the probability of an image is
one that its votes leave likely, drawn from Jeffreys's posterior, since no image's is exactly 1.
With --within the question is the radius up to a factor, not whether it is one of --radii.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from holdfast.certify import (
    AtLeast,
    Sampling,
    Sequential,
    TwoSample,
    Within,
    certificates,
    cohen_radius,
)
from holdfast.certify.config import CertificationConfig
from holdfast.certify.intervals.interval import Interval
from holdfast.certify.questions import answered
from holdfast.certify.run import certify_data
from holdfast.certify.sequential import looks
from holdfast.metrics import accuracy_at, certified_curve


def on_network(a: argparse.Namespace) -> dict[str, tuple[list[tuple[float, float]], float]]:
    from holdfast import data as datasets
    from holdfast.cli.common import device
    from holdfast.models import loading
    from holdfast.progress import showing

    images = datasets.load(a.data, data_dir=a.data_dir, limit=a.images)
    network = loading.load(a.model).to(device(a.accelerator))
    found = {}
    for interval in ("two-sample", "sequential"):
        how = CertificationConfig(
            sigma=a.sigma,
            votes=a.votes,
            selection_votes=a.selection_votes,
            confidence=a.confidence,
            bounds=("cohen",),
            intervals=(interval,),
            radii=tuple(a.radii),
            batch_size=a.batch_size,
        )
        with TemporaryDirectory() as temporary, showing() as progress:
            out = (a.out or Path(temporary)) / interval
            (cell,) = certify_data(network, images, how, a.model, out, progress).cells
        found[interval] = (cell["curve"], cell["forwards"] / cell["images"])
    return found


def probabilities(a: argparse.Namespace, rng: np.random.Generator) -> np.ndarray:
    """Of the right class, on every image: 0.3 in 3 % of them, up to 1 - 5e-6 in the others."""
    if a.again is None:
        p = 1 - 0.5 * 10 ** -np.random.default_rng(0).uniform(0, 5, size=a.images)
        p[: max(1, a.images * 3 // 100)] = 0.3
        return p
    rows = pd.read_csv(a.again / "rows.csv", usecols=["votes", "label"])
    votes = [dict(pair.split(":") for pair in row.split()) for row in rows["votes"]]
    right = [int(of.get(str(y), 0)) for of, y in zip(votes, rows["label"], strict=True)]
    drawn = [sum(map(int, of.values())) for of in votes]
    return rng.beta(np.array(right) + 0.5, np.array(drawn) - np.array(right) + 0.5)


def on_toy(
    a: argparse.Namespace, p: np.ndarray, rng: np.random.Generator
) -> dict[str, tuple[list[tuple[float, float]], float]]:
    choice = rng.binomial(a.selection_votes, p)
    every = np.arange(len(p))

    def sampling(votes: np.ndarray, n: int, of: np.ndarray) -> Sampling:
        return Sampling(
            np.stack([votes, n - votes], axis=1),
            None,
            np.stack([choice[of], a.selection_votes - choice[of]], axis=1),
        )

    def radii(drawn: Sampling, interval: Interval) -> pd.DataFrame:
        found = certificates(drawn, interval, cohen_radius, a.sigma)
        return pd.DataFrame({"prediction": found.prediction, "label": 0, "radius": found.radius})

    limits = Sequential(a.confidence, most=a.votes)
    question = Within(a.within, tuple(a.between)) if a.within else AtLeast(tuple(a.radii))
    settled = answered([question], limits, [cohen_radius], a.sigma)
    votes, drawn, going = np.zeros_like(every), np.zeros_like(every), every
    for first, last in looks(a.votes):
        votes[going] += rng.binomial(last - first, p[going])
        drawn[going] = last
        going = going[~settled(sampling(votes[going], last, going))]
    stopped = Sampling(
        np.stack([votes, drawn - votes], axis=1),
        None,
        np.stack([choice, a.selection_votes - choice], axis=1),
    )
    fixed = votes + rng.binomial(a.votes - drawn, p)  # goes on with the same votes, as on a network
    before = radii(sampling(fixed, a.votes, every), TwoSample(a.confidence))
    after = radii(stopped, limits)
    if a.within:
        known = (before["prediction"] == 0) & (before["radius"] > 0)
        share = after["radius"][known] / before["radius"][known]
        print(
            f"of fixed n's radius {100 * share.mean():.1f} % on average, {100 * share.min():.0f} %"
        )
        print(f"at least, {a.within:g} in {100 * (share >= a.within).mean():.0f} % of the images")
    return {
        "two-sample": (certified_curve(before), float(a.selection_votes + a.votes)),
        "sequential": (certified_curve(after), a.selection_votes + float(drawn.mean())),
    }


def repeated(a: argparse.Namespace) -> None:
    """Print how the saving and the largest difference spread over many runs."""
    saved, lost = [], []
    for seed in range(a.repeat):
        rng = np.random.default_rng(seed)
        p = probabilities(a, rng)
        found = on_toy(a, p, rng)
        (fixed, most), (stopped, drawn) = found["two-sample"], found["sequential"]
        saved.append(drawn / most)
        lost.append([accuracy_at(fixed, r) - accuracy_at(stopped, r) for r in a.radii])
    points = 100 * np.array(lost)
    print(f"{a.repeat} runs on {len(p)} images: {1 / np.mean(saved):.1f} times fewer votes")
    print(f"({1 / max(saved):.1f} to {1 / min(saved):.1f})")
    if not a.within:
        each = ", ".join(
            f"{gap:.2f} at {r:g}" for gap, r in zip(points.mean(0), a.radii, strict=True)
        )
        print(f"points lost on average: {each}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--again", type=Path, help="folder of a run with fixed n")
    parser.add_argument("--repeat", type=int, default=40, help="runs with --again")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--sigma", type=float, default=0.5)
    parser.add_argument("--votes", type=int, default=100_000)
    parser.add_argument("--selection-votes", type=int, default=100)
    parser.add_argument("--confidence", type=float, default=0.999)
    parser.add_argument("--batch-size", type=int, default=2000)
    parser.add_argument("--radii", type=float, nargs="+", help="default: σ/2, σ, ... 3 σ")
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--out", type=Path, help="folder of the two runs, which resume")
    parser.add_argument("--within", type=float, help="a factor; with --toy or --again")
    parser.add_argument("--between", type=float, nargs=2, default=(0.0, np.inf), help="radii")
    a = parser.parse_args()
    if not a.toy and a.model is None and a.again is None:
        parser.error("give --model, --toy or --again")
    a.radii = a.radii or [round(a.sigma * k / 2, 6) for k in range(1, 7)]
    if a.again:
        repeated(a)
        return
    rng = np.random.default_rng(1)
    found = on_toy(a, probabilities(a, rng), rng) if a.toy else on_network(a)
    (fixed, most), (stopped, drawn) = found["two-sample"], found["sequential"]
    print(f"{'radius':>8}  {'n = ' + str(a.votes):>12}  sequential")
    gaps = []
    for radius in a.radii:
        before, after = accuracy_at(fixed, radius), accuracy_at(stopped, radius)
        gaps.append(abs(before - after))
        print(f"{radius:8.3f}  {100 * before:10.1f} %  {100 * after:8.1f} %")
    print(f"largest difference {100 * max(gaps):.2f} points over {a.images} images")
    print(f"votes for an image {most:.0f} and {drawn:.0f}: {most / drawn:.1f} times fewer")


if __name__ == "__main__":
    main()
