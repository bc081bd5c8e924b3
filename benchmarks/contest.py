"""Attacks of several libraries on the same images, scored alike, with what each one cost.

An attack is any callable (model, x, y) -> x_adv, of whichever library. Whatever it believes, its
images count only if a fresh forward pass is fooled by them and they lie in the box and in the ball.
An image that comes back all black is a failure, since that is how some libraries mark one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pairs import settle
from scipy import stats
from torch import Tensor, nn

from holdfast.counting import Counted
from holdfast.files import read_json, write_json, write_table
from holdfast.types import Threat

Crafts = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Contest:
    """Attacks of one kind, at equal cost.

    Attributes:
        name: of the kind and its budget, such as "PGD, 40 steps".
        threat: the ball; of infinite size for attacks that look for the smallest perturbation.
        entries: by library; ours is "holdfast".
    """

    name: str
    threat: Threat
    entries: dict[str, Crafts]


def kept(
    contest: Contest,
    entry: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    out: Path,
    batch_size: int,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """What `measure` says of an entry: read from ``out`` where it has been measured before."""
    file = out / f"{contest.name} {contest.threat} {entry}.csv".replace(" ", "_")
    if not file.with_suffix(".json").exists():
        print(f"{contest.name}, {contest.threat}, {entry} ...", flush=True)
        craft = contest.entries[entry]
        rows, cost = measure(model, x, y, craft, contest.threat, batch_size)
        write_table(file, rows)
        write_json(file.with_suffix(".json"), cost)
    return pd.read_csv(file), read_json(file.with_suffix(".json"))


def measure(
    model: nn.Module, x: Tensor, y: Tensor, attack: Crafts, threat: Threat, batch_size: int
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Run one attack; rows (index, fooled, distance, black, outside) and what it cost per image."""
    parts, forwards, backwards, seconds = [], 0, 0, 0.0
    for index in torch.arange(len(x), device=x.device).split(batch_size):
        counted = Counted(model, index).eval()
        began = time.perf_counter()
        x_adv = attack(counted, x[index], y[index]).detach()
        settle(x.device)
        seconds += time.perf_counter() - began
        forwards += int(counted.forwards.sum())
        backwards += int(counted.backwards.sum())
        parts.append(_score(model, x[index], y[index], x_adv, threat))
    rows = pd.concat(parts, ignore_index=True)
    rows.insert(0, "index", range(len(rows)))
    count = len(x)
    cost = {"forwards": forwards / count, "backwards": backwards / count, "seconds": seconds}
    return rows, cost


def _score(model: nn.Module, x: Tensor, y: Tensor, x_adv: Tensor, threat: Threat) -> pd.DataFrame:
    black = (x_adv == 0).flatten(1).all(dim=1) & (x != 0).flatten(1).any(dim=1)
    inside = ((x_adv >= -1e-6) & (x_adv <= 1 + 1e-6)).flatten(1).all(dim=1)  # false for NaN
    x_adv = torch.where(inside.view(-1, *[1] * (x.dim() - 1)), x_adv, x)
    distance = threat.distance(x_adv, x)
    # Rounding is forgiven to peers that clip in float32; ours are held to 1e-6 by themselves.
    inside &= distance <= threat.eps * (1 + 1e-4)
    with torch.no_grad():
        wrong = model(x_adv).argmax(dim=1) != y
        wrong_before = model(x).argmax(dim=1) != y
    fooled = wrong_before | (wrong & inside & ~black)
    distance = torch.where(wrong_before, 0.0, torch.where(fooled, distance, torch.inf))
    columns = {"fooled": fooled, "distance": distance, "black": black, "outside": ~inside}
    return pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})


def compare(ours: pd.DataFrame, theirs: pd.DataFrame, threat: Threat) -> dict[str, str]:
    """Ours against a peer, paired by image: the difference, its 95 % interval, and a verdict.

    For a ball, the difference of robust accuracies, in points; without a limit, the difference of
    median distances over the images that were right before, a failure being infinitely far. A
    positive difference means that the peer is stronger; the verdict holds that against us only if
    the whole interval is positive.
    """
    bounded = np.isfinite(threat.eps)
    if bounded:
        samples = (100.0 * ~ours["fooled"], 100.0 * ~theirs["fooled"])
        statistic = _difference_of_means
    else:
        right = ours["distance"] > 0
        samples = (ours.loc[right, "distance"], theirs.loc[right, "distance"])
        statistic = _difference_of_medians
    pair = tuple(sample.to_numpy(dtype=float) for sample in samples)
    difference = float(statistic(*pair))
    if (pair[0] == pair[1]).all():
        low = high = difference
    else:
        interval = stats.bootstrap(
            pair,
            statistic,
            paired=True,
            n_resamples=2000,
            vectorized=False,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return {
        "ours - theirs": f"{difference:+.3g} [{low:+.3g}, {high:+.3g}]",
        "ours no weaker": "yes" if low <= 0 else "NO",
    }


def _difference_of_means(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.mean(ours) - np.mean(theirs))


def _difference_of_medians(ours: np.ndarray, theirs: np.ndarray) -> float:
    here, there = np.median(ours), np.median(theirs)
    return 0.0 if here == there else float(here - there)  # infinite on both sides is equal
